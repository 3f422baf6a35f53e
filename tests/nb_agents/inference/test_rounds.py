"""The rounds of a distillation: interrupted and resumed, logged, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecNormalize

from nb_agents import KGatedMultiInputPolicy, KGatedPolicy, StudentPolicy, VectorEnvAdapter, distill, searching
from nb_agents._tensor_file import write_tensors
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.encoder import HistoryEncoder, MeanEncoder
from nb_gym.wrappers import ContextObservation, HistoryObservation, vector


def worlds(num_envs: int = 4, key: str | None = None) -> Any:
    env = gym.make_vec("NBPendulum-v0", num_envs=num_envs, torque_gain=(-1.0, 1.0), frame_skip=20, episode_steps=200)
    return vector.ContextObservation(env, {"torque_gain": (-1.0, 1.0)}, key=key)


@pytest.fixture(scope="module")
def teacher() -> Any:
    """One that has learned nothing: its k's depend on the context all the same."""
    return PPO(KGatedPolicy, VectorEnvAdapter(worlds()), policy_kwargs={"k_from": "context"}, seed=0, device="cpu")


SHORT: dict[str, Any] = {"total_timesteps": 4 * 12 * 3, "rounds": 3, "n_epochs": 3, "batch_size": 16, "seed": 3}


class InterruptionError(Exception):
    pass


def interrupted_after(done: int) -> Any:
    def on_round(number: int, _: float, __: StudentPolicy) -> None:
        if number == done:
            raise InterruptionError

    return on_round


def assert_same(a: StudentPolicy, b: StudentPolicy) -> None:
    for (name, value), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("encoder", ["mlp", "gru"])
def test_an_interrupted_distillation_ends_as_one_that_was_not(teacher: Any, tmp_path: Path, encoder: str) -> None:
    whole = distill(teacher, worlds(), encoder=encoder, **SHORT)
    path, again = (
        tmp_path / "distillation.pt",
        {**SHORT, "encoder": encoder, "checkpoint": tmp_path / "distillation.pt"},
    )
    for done in (0, 1):
        with pytest.raises(InterruptionError):
            distill(teacher, worlds(), on_round=interrupted_after(done), **again)
    seen: list[int] = []
    resumed = distill(teacher, worlds(), on_round=lambda number, *_: seen.append(number), **again)
    assert seen == [2], "what was done is not done again"
    assert_same(resumed, whole)
    before = path.read_bytes()
    assert_same(distill(teacher, worlds(), **again), whole)
    assert path.read_bytes() == before


def test_a_checkpoint_of_something_else_is_refused(teacher: Any, tmp_path: Path) -> None:
    path = tmp_path / "distillation.pt"
    again = {**SHORT, "checkpoint": path}
    distill(teacher, worlds(), **again)
    whole = path.read_bytes()
    for change, named in (({"seed": 4}, "seed=3"), ({"steps": 4}, "steps=8"), ({"encoder": "gru"}, "encoder=.*Mean")):
        with pytest.raises(ValueError, match=f"checkpoint must be of this distillation, got .* of one with {named}"):
            distill(teacher, worlds(), **{**again, **change})
    with pytest.raises(ValueError, match=r"of one with .*num_envs=4"):
        distill(teacher, worlds(6), **again)
    other = PPO(KGatedPolicy, VectorEnvAdapter(worlds()), policy_kwargs={"k_from": "context"}, seed=1, device="cpu")
    with pytest.raises(ValueError, match="of one with teacher="):
        distill(other, worlds(), **again)
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"is not a whole file of 'nb_agents.distill'"):
        distill(teacher, worlds(), **again)
    write_tensors(path, "nb_agents.distill", about={}, done={})
    with pytest.raises(ValueError, match=r"is not a whole file of 'nb_agents.distill'"):
        distill(teacher, worlds(), **again)
    with pytest.raises(OSError, match="nowhere"):
        distill(teacher, worlds(), **{**SHORT, "checkpoint": tmp_path / "nowhere" / "file.pt"})


class Lines(KVWriter):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, Any]]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.lines.append((step, dict(key_values)))

    def close(self) -> None:
        pass


def test_each_round_is_logged_as_sb3_logs_and_returns_are_the_environments(teacher: Any) -> None:
    lines, losses = Lines(), []
    on_round = lambda _, loss, __: losses.append(loss)  # noqa: E731
    distill(teacher, worlds(), logger=Logger(None, [lines]), on_round=on_round, **SHORT)
    assert [step for step, _ in lines.lines] == [48, 96, 144]
    assert [each["time/total_timesteps"] for _, each in lines.lines] == [48, 96, 144]
    assert [each["train/k_loss"] for _, each in lines.lines] == losses
    assert all(each["rollout/ep_len_mean"] == 10.0 for _, each in lines.lines)
    # An episode is 200 physics steps of a pendulum that nobody holds: |θ| stays below a few turns.
    assert all(-200.0 * 20 < each["rollout/ep_rew_mean"] < 0.0 for _, each in lines.lines)
    with pytest.raises(TypeError, match=r"logger must be a Logger of stable_baselines3.common.logger or None, got 1"):
        distill(teacher, worlds(), logger=1, **SHORT)  # type: ignore[arg-type]


def test_a_verbose_teacher_prints_and_a_quiet_one_does_not(teacher: Any, capsys: pytest.CaptureFixture[str]) -> None:
    distill(teacher, worlds(), **SHORT)
    assert capsys.readouterr().out == ""
    teacher.verbose = 1
    distill(teacher, worlds(), **SHORT)
    teacher.verbose = 0
    out = capsys.readouterr().out
    assert out.count("k_loss") == 3
    assert out.count("ep_rew_mean") == 3


def test_the_bar_is_sb3s(teacher: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[Any] = []

    class Bar:
        def __init__(self, total: int) -> None:
            self.total, self.n, self.closed = total, 0, False
            shown.append(self)

        def update(self, n: int) -> None:
            self.n += n

        def refresh(self) -> None:
            pass

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr("stable_baselines3.common.callbacks.tqdm", Bar)
    path = tmp_path / "distillation.pt"
    with pytest.raises(InterruptionError):
        distill(teacher, worlds(), progress_bar=True, checkpoint=path, on_round=interrupted_after(0), **SHORT)
    distill(teacher, worlds(), progress_bar=True, checkpoint=path, **SHORT)
    assert [(bar.total, bar.n, bar.closed) for bar in shown] == [(144, 48, True), (96, 96, True)]
    monkeypatch.setattr("stable_baselines3.common.callbacks.tqdm", None)
    with pytest.raises(ImportError, match="You must install tqdm and rich"):
        distill(teacher, worlds(), progress_bar=True, **SHORT)


def test_the_statistics_that_scale_observations_are_held() -> None:
    env = VecNormalize(VectorEnvAdapter(worlds(key="context")), norm_obs_keys=["observation"])
    kwargs = {"k_from": "context"}
    teacher = PPO(KGatedMultiInputPolicy, env, policy_kwargs=kwargs, n_steps=8, batch_size=8, device="cpu")
    teacher.learn(32)
    before = env.obs_rms["observation"].copy()
    distill(teacher, **SHORT)
    np.testing.assert_array_equal(env.obs_rms["observation"].mean, before.mean)
    assert env.obs_rms["observation"].count == before.count
    assert env.training


def histories(n: int, steps: int, n_numbers: int) -> torch.Tensor:
    """Row i of the batch has i complete transitions, the latest last."""
    rows = torch.randn(n, steps, n_numbers + 1, generator=torch.Generator().manual_seed(0))
    there = torch.arange(steps) >= steps - torch.arange(n)[:, None]
    rows[:, :, -1] = 1.0
    return rows * there[:, :, None]


def test_a_recurrent_encoder_is_torchs_gru_on_the_transitions_that_there_are(teacher: Any) -> None:
    student = distill(teacher, worlds(), encoder="gru", **{**SHORT, "steps": 5})
    encoder: Any = student.encoder
    rows = histories(6, 5, 5)
    k = encoder(rows.flatten(1))
    for i in range(6):
        valid = rows[i, 5 - i :, :-1] / encoder.width
        last = encoder.gru(valid[None])[1][0] if i else torch.zeros(1, encoder.units)
        expected = encoder.mean + encoder.scale * encoder.head(last)[0]
        torch.testing.assert_close(k[i], expected)


def test_a_mean_encoder_weighs_the_transitions_that_there_are_by_their_age() -> None:
    encoder = MeanEncoder(5 * 6, 3, 5, 8)
    rows = histories(6, 5, 5)
    found = encoder(rows.flatten(1))
    for i in range(6):
        each = encoder.each(rows[i, 5 - i :, :-1])
        weight = encoder.log_weight[5 - i :].exp()
        mean = (each * weight).sum(dim=0) / weight.sum(dim=0) if i else torch.zeros(4)
        torch.testing.assert_close(found[i], encoder.last(torch.relu(encoder.third(mean))))
    encoder(histories(6, 5, 5).flatten(1)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())


class LatestOnly(HistoryEncoder):
    """One of a user's own: linear in the latest transition."""

    def __init__(self, n_inputs: int, n_outputs: int, steps: int, units: int) -> None:
        super().__init__(n_inputs, n_outputs, steps, units)
        self.layer = torch.nn.Linear(self.n_numbers, n_outputs)

    def together(self, kept: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        return self.layer(kept[:, -1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("encoder", ["gru", LatestOnly])
def test_a_student_with_another_encoder_acts_as_its_network_on_the_whole_history(
    teacher: Any, encoder: Any, tmp_path: Path
) -> None:
    student = distill(teacher, worlds(), encoder=encoder, **{**SHORT, "steps": 4})
    student.save(tmp_path / "student.pth")
    loaded = StudentPolicy.load(tmp_path / "student.pth", device="cpu")
    env = HistoryObservation(gym.make("NBPendulum-v0", frame_skip=20, episode_steps=200), 4)
    observation, _ = env.reset(seed=0)
    state: Any = None
    for _ in range(10):
        action, state = loaded.predict(observation[:2], state, np.zeros(1, dtype=bool), deterministic=True)
        np.testing.assert_array_equal(state.rows.ravel(), observation[2:])
        np.testing.assert_allclose(action, student.network.predict(observation, deterministic=True)[0], atol=1e-6)
        observation, *_ = env.step(action)


def test_encoders_are_named_or_subclasses(teacher: Any) -> None:
    with pytest.raises(ValueError, match=r"encoder must be one of \['mlp', 'gru'\] or a subclass .*, got 'lstm'"):
        distill(teacher, worlds(), encoder="lstm", **SHORT)
    for wrong in (HistoryEncoder, 3):
        with pytest.raises(TypeError, match="encoder must be one of"):
            distill(teacher, worlds(), encoder=wrong, **SHORT)  # type: ignore[arg-type]


def test_a_teacher_goes_on_from_a_reset_of_its_own_environments() -> None:
    """What it has seen last is not what they show after a distillation, even one that was broken off."""
    own = VectorEnvAdapter(worlds())
    teacher = PPO(KGatedPolicy, own, policy_kwargs={"k_from": "context"}, n_steps=4, batch_size=8, device="cpu")
    for env, begins in ((None, True), (VecNormalize(own, norm_obs=False), True), (worlds(), False)):
        teacher.learn(16)
        last: Any = teacher._last_obs
        with pytest.raises(InterruptionError):
            distill(teacher, env, on_round=interrupted_after(0), **SHORT)
        assert (teacher._last_obs is None) is begins
        assert begins or teacher._last_obs is last
        teacher.learn(16, reset_num_timesteps=False)


@pytest.mark.parametrize(("total_timesteps", "said"), [(1, 1), (8, 8)])
def test_a_context_that_never_changes_is_said(teacher: Any, total_timesteps: int, said: int) -> None:
    """One label alone has no spread."""
    env = vector.ContextObservation(gym.make_vec("NBPendulum-v0", 1), {"torque_gain": (-1.0, 1.0)})
    with pytest.warns(UserWarning, match=f"k's were the same in all {said} steps: if the context of env never changes"):
        student = distill(teacher, env, total_timesteps, rounds=1, n_epochs=2)
    k = student.k(np.float32([0.1, 0.2]), None)
    with torch.no_grad():
        torch.testing.assert_close(k, next(conditioned_nets(teacher.policy)).k_sets(torch.ones(1, 1)))


def test_one_environment_is_wrapped_as_sb3_does(teacher: Any) -> None:
    env = gym.make("NBPendulum-v0", torque_gain=(-1.0, 1.0), frame_skip=20, episode_steps=60)
    one = distill(teacher, ContextObservation(env), 12, rounds=2, n_epochs=1)
    model = PPO("MlpPolicy", ContextObservation(env), n_steps=8, batch_size=8, device="cpu")
    other = distill(teacher, model.get_env(), 12, rounds=2, n_epochs=1)
    for ours, theirs in zip(one.encoder.parameters(), other.encoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": "x"}, "teacher must be a Stable-Baselines3 model, got 'x'"),
        ({"env": 20_000}, "env must be a Gymnasium environment, a VectorEnv or an SB3 VecEnv, got 20000"),
        ({"on_round": 3}, r"on_round must be a function \(number, error, student\) or None, got 3"),
    ],
)
def test_arguments_of_another_kind_are_named(teacher: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        distill(**{"teacher": teacher, "env": worlds(), **SHORT, **change})


def test_teachers_of_another_kind_are_named(teacher: Any) -> None:
    with pytest.raises(TypeError, match="teacher must be a Stable-Baselines3 model, got KGatedPolicy"):
        distill(teacher.policy, worlds(), **SHORT)
    guessing = searching(teacher, gym.make_vec("NBPendulum-v0", 4))
    with pytest.raises(ValueError, match="teacher must have a policy with k_from, a part of the observation"):
        distill(guessing, worlds(), **SHORT)
    weak = vector.ContextObservation(gym.make_vec("NBPendulum-v0", 4, max_torque=1.0), {"torque_gain": (-1.0, 1.0)})
    with pytest.raises(ValueError, match=r"env must take the teacher's actions, Box\(-2.0, 2.0.*; got Box\(-1.0, 1.0"):
        distill(teacher, weak, **SHORT)
