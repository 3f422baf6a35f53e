"""MAML as an SB3 algorithm: training, adapting, files, callbacks, variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from numpy.testing import assert_array_equal
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

import nb_gym  # noqa: F401 - registers the environments
from nb_agents import KGatedPolicy
from nb_agents.maml import (
    ANIL,
    FOMAML,
    MAML,
    Environments,
    JointTraining,
    MetaSGD,
    PPOClipUpdate,
    ProMP,
    Reptile,
    ReptileUpdate,
    TRPOUpdate,
)
from nb_agents.maml.actor import StackedActor
from nb_agents.maml.inner import Batch, InnerStep
from nb_agents.maml.rollout import roll_out
from nb_agents.maml.tasks import make_task_envs
from nb_gym import NBPendulumVectorEnv

# Off the lattice of full steps, which exploration mostly takes: no episode ends early.
GOALS = [{"goal": (0.35, 0.25), "episode_steps": 10}, {"goal": (-0.35, 0.25), "episode_steps": 10}]


def make(cls: type[MAML] = MAML, policy: Any = "MlpPolicy", **kwargs: Any) -> MAML:
    settings: dict[str, Any] = {"tasks": GOALS, "episodes_per_task": 4, "seed": 0, "device": "cpu"}
    settings |= {"policy_kwargs": {"net_arch": [8, 8]}} | kwargs
    return cls(policy, "Navigation2D-v0", **settings)


def meta_parameters(maml: MAML) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in maml.policy.state_dict().items()}


def moved(before: dict[str, torch.Tensor], maml: MAML) -> set[str]:
    return {name for name, value in maml.policy.state_dict().items() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("cls", [MAML, FOMAML, ANIL, MetaSGD, ProMP, Reptile, JointTraining])
@pytest.mark.parametrize("policy", ["MlpPolicy", KGatedPolicy])
def test_every_variant_trains_its_actor_and_is_deterministic(cls: type[MAML], policy: Any) -> None:
    first = make(cls, policy)
    before = meta_parameters(first)
    first.learn(200)
    second = make(cls, policy)
    assert not moved(before, second)
    second.learn(200)
    changed = moved(before, first)
    assert "action_net.weight" in changed
    assert not any("value_net" in name for name in changed)
    assert not moved(meta_parameters(first), second)
    assert first.num_timesteps >= 200


def test_variants_are_arguments() -> None:
    assert make(FOMAML).first_order
    assert make(ANIL).adapt_what == "head"
    assert make(MetaSGD).learn_inner_lr
    assert isinstance(make(Reptile).outer, ReptileUpdate)
    assert isinstance(make(ProMP).outer, PPOClipUpdate)
    assert make(JointTraining).inner_steps == 0


def test_first_order_takes_another_way() -> None:
    before = meta_parameters(make())
    second, first = make(inner_steps=2).learn(1), make(FOMAML, inner_steps=2).learn(1)
    assert not moved(before, make())
    assert "action_net.weight" in moved(meta_parameters(second), first)


@pytest.mark.parametrize(
    ("adapt", "changing"),
    [
        ("all", lambda name: True),
        ("head", lambda name: name.startswith("action_net.") or name == "log_std"),
        ("gates", lambda name: name.endswith(".k")),
    ],
)
def test_the_inner_loop_changes_what_it_should_and_the_outer_loop_everything(adapt: str, changing: Any) -> None:
    maml = make(policy=KGatedPolicy, adapt=adapt, inner_steps=2)
    before = meta_parameters(maml)
    model = maml.adapt(GOALS[0])
    adapted = {name for name, value in model.policy.state_dict().items() if not torch.equal(before[name], value)}
    assert adapted & set(maml._actor.names) == {name for name in maml._actor.names if changing(name)}
    assert not moved(before, maml)
    maml.learn(100)
    assert moved(before, maml) >= set(maml._actor.names)


@pytest.mark.parametrize("outer", ["trpo", "ppo"])
def test_learned_rates_stay_with_what_adapts(outer: str) -> None:
    maml = make(ANIL, learn_inner_lr=True, outer=outer)
    initial = maml.inner_rates.clone()
    maml.learn(200)
    assert torch.equal(maml.inner_rates[initial == 0], initial[initial == 0])
    assert not torch.equal(maml.inner_rates, initial)


def test_inner_steps_at_test_time_all_have_the_inner_rate() -> None:
    """CAVIA gave a rate of its own to the first test-time step; learn2learn passed the meta rate (PR #211)."""
    maml = make(inner_lr=0.05, learning_rate=0.5, outer="ppo")
    params, rollouts = maml._run(GOALS, 3, None, 1, evaluate=True)
    double, _ = make(inner_lr=0.1, learning_rate=0.5, outer="ppo")._run(GOALS, 1, None, 1, evaluate=False)
    other_meta_rate, _ = make(inner_lr=0.05, learning_rate=1e-6, outer="ppo")._run(GOALS, 3, None, 1, evaluate=True)
    torch.testing.assert_close(double[1] - double[0], 2 * (params[1] - params[0]))
    assert all(torch.equal(a, b) for a, b in zip(params, other_meta_rate, strict=True))

    for k in range(3):
        batch = Batch.from_rollout(maml._actor, rollouts[k], 0.99, 1.0)
        gradient = InnerStep(maml._actor, params[k], batch, second_order=False).gradient
        torch.testing.assert_close(params[k + 1], params[k] - 0.05 * gradient)


def test_adapting_leaves_the_meta_parameters_and_the_training_untouched() -> None:
    first = make(inner_steps=2).learn(300)
    before = meta_parameters(first)
    model = first.adapt(GOALS[0], steps=3, n_steps=8, batch_size=8)
    assert model.num_timesteps == 3 * 4 * 10
    first.evaluate(GOALS, steps=1)
    assert not moved(before, first)
    model.learn(16)
    assert not moved(before, first)


def test_the_training_goes_on_as_if_nothing_had_been_adapted() -> None:
    first = make(inner_steps=2).learn(300)
    first.adapt(GOALS[0], steps=3)
    first.evaluate(GOALS, steps=1)
    first.learn(300, reset_num_timesteps=False)
    second = make(inner_steps=2).learn(300).learn(300, reset_num_timesteps=False)
    assert not moved(meta_parameters(first), second)


def test_adapting_by_no_step_gives_the_initialisation_as_a_ppo_model() -> None:
    maml = make().learn(200)
    model = maml.adapt(GOALS[0], steps=0)
    assert isinstance(model, PPO)
    assert model.num_timesteps == 0
    observations = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    assert_array_equal(
        model.predict(observations, deterministic=True)[0], maml.predict(observations, deterministic=True)[0]
    )


def test_predict_takes_raw_observations_and_scales_them() -> None:
    maml = make().learn(200)
    mean = maml.policy.features_extractor.mean
    assert mean.abs().max() > 0
    model = maml.adapt(GOALS[0], steps=1)
    assert torch.equal(model.policy.features_extractor.mean, mean)


def test_an_adapted_model_is_saved_and_loaded_by_sb3(tmp_path: Path) -> None:
    model = make().learn(200).adapt(GOALS[0], steps=1)
    model.save(tmp_path / "adapted")
    loaded = PPO.load(tmp_path / "adapted")
    observations = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    for ours, theirs in zip(model.policy.state_dict().values(), loaded.policy.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert_array_equal(
        model.predict(observations, deterministic=True)[0], loaded.predict(observations, deterministic=True)[0]
    )


@pytest.mark.parametrize("cls", [MAML, MetaSGD, ProMP, Reptile])
def test_save_and_load_give_the_same_algorithm(cls: type[MAML], tmp_path: Path) -> None:
    maml = make(cls, inner_steps=2, outer=TRPOUpdate(max_kl=0.02) if cls is MAML else make(cls).outer).learn(200)
    maml.save(tmp_path / "meta")
    loaded = cls.load(tmp_path / "meta")
    assert not moved(meta_parameters(maml), loaded)
    assert torch.equal(maml.inner_rates, loaded.inner_rates)
    assert (loaded.inner_steps, loaded.outer, loaded.num_timesteps) == (2, maml.outer, maml.num_timesteps)
    before = meta_parameters(loaded)
    loaded.learn(200, reset_num_timesteps=False)
    assert loaded.num_timesteps > maml.num_timesteps
    assert moved(before, loaded)
    assert [file.name for file in tmp_path.iterdir()] == ["meta.zip"]


class Recorder(KVWriter):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        self.rows.append(dict(key_values))

    def close(self) -> None:
        pass


class Counter(BaseCallback):
    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.seen: list[str] = []

    def _on_training_start(self) -> None:
        assert self.training_env.num_envs == 8
        self.seen.append("start")

    def _on_rollout_start(self) -> None:
        self.seen.append("rollout start")

    def _on_step(self) -> bool:
        return self.stop_after is None or self.n_calls < self.stop_after

    def _on_rollout_end(self) -> None:
        self.seen.append("rollout end")

    def _on_training_end(self) -> None:
        self.seen.append("end")


def test_callbacks_logger_and_counters_are_sb3s() -> None:
    maml = make(inner_steps=2)
    recorder, counter = Recorder(), Counter()
    maml.set_logger(Logger(folder=None, output_formats=[recorder]))
    maml.learn(2 * 3 * 80, callback=counter)
    assert counter.seen == ["start", *["rollout start", "rollout end"] * 2, "end"]
    assert counter.n_calls == 2 * 3 * 10
    assert counter.num_timesteps == maml.num_timesteps == 480
    assert len(recorder.rows) == 2
    names = {"rollout/ep_rew_mean", "rollout/return_step_0", "rollout/return_step_2", "train/kl", "train/surrogate"}
    assert names <= recorder.rows[0].keys()


def test_a_callback_can_stop_the_training_before_an_update() -> None:
    maml = make()
    before = meta_parameters(maml)
    counter = Counter(stop_after=7)
    maml.learn(10_000, callback=counter)
    assert counter.seen == ["start", "rollout start", "end"]
    assert maml.num_timesteps == 7 * 8
    assert not moved(before, maml)


def test_tasks_share_one_native_vector_env_where_its_class_can_hold_them() -> None:
    tasks = [{"A": a, "frame_skip": 10} for a in (1.0, 1.5)]
    native = make_task_envs("NBPendulum-v0", tasks, 3)
    assert isinstance(native, NBPendulumVectorEnv)
    assert_array_equal(native.reset(seed=0)[1]["context"]["A"], [1.0] * 3 + [1.5] * 3)
    for others in ([{"A": 1.0}, {"b": 0.1}], [{"frame_skip": 1}, {"frame_skip": 2}], [{"A": (1.0, 1.5)}, {"A": 1.0}]):
        assert isinstance(make_task_envs("NBPendulum-v0", others, 2), SyncVectorEnv)
    assert isinstance(
        make_task_envs("CartPole-v1", [{"sutton_barto_reward": b} for b in (True, False)], 2), SyncVectorEnv
    )


def test_native_and_single_environments_give_the_same_training() -> None:
    native = make().learn(300)
    single = MAML(
        "MlpPolicy",
        lambda **task: gym.make("Navigation2D-v0", **task),
        GOALS,
        episodes_per_task=4,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": [8, 8]},
    )
    single.learn(300)
    assert not moved(meta_parameters(native), single)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_rollouts_do_not_depend_on_the_autoreset_mode(mode: str) -> None:
    maml = make()
    goals = np.array([[0.05, 0.0], [0.5, 0.5], [0.0, -0.05], [0.4, 0.0]])
    params = maml._actor.get_vector().expand(2, -1).contiguous()
    torch.manual_seed(0)
    envs = gym.make_vec("Navigation2D-v0", 4, goal=goals, episode_steps=12, autoreset_mode="NextStep")
    reference = roll_out(envs, maml._actor, params)
    torch.manual_seed(0)
    envs = gym.make_vec("Navigation2D-v0", 4, goal=goals, episode_steps=12, autoreset_mode=mode)
    if mode == "Disabled":
        # An environment without autoreset cannot be stepped beyond an end; with one common end it never is.
        envs = gym.make_vec("Navigation2D-v0", 4, goal=goals + 9.0, episode_steps=12, autoreset_mode=mode)
        assert roll_out(envs, maml._actor, params).mask.all()
        return
    rollout = roll_out(envs, maml._actor, params)
    for name in ("mask", "terminated", "rewards", "final_observations"):
        assert torch.equal(getattr(rollout, name), getattr(reference, name))


def test_wrapped_environments_can_be_native_too() -> None:
    def scaled(num_envs: int, **task: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
        env = gym.make_vec("NBPendulum-v0", num_envs=num_envs, **task)
        return gym.wrappers.vector.TransformObservation(env, lambda observation: observation / 10)

    environments = Environments(lambda **task: gym.make("NBPendulum-v0", **task), scaled, {"A": ()})
    tasks = [{"A": 1.0, "episode_steps": 5}, {"A": 2.0, "episode_steps": 5}]
    envs = make_task_envs(environments, tasks, 2)
    assert_array_equal(envs.reset(seed=0)[1]["context"]["A"], [1.0, 1.0, 2.0, 2.0])
    maml = MAML("MlpPolicy", environments, tasks, episodes_per_task=2, seed=0, device="cpu").learn(1)
    assert maml.num_timesteps == 40


def test_the_adapted_models_critic_is_fitted_and_its_actor_is_the_inner_loops() -> None:
    maml = make(episodes_per_task=20).learn(1)
    for scale in (1.0, 0.01):
        model = maml.adapt({"goal": (0.3, 0.25)}, steps=2, reward_scale=scale)
        positions = torch.tensor([[0.0, 0.0], [0.3, 0.2], [-0.3, -0.2]])
        with torch.no_grad():
            values = model.policy.predict_values(positions).squeeze(-1) / scale
        # −distance / (1 − γ) at most for ever; nearer to the goal is worth more.
        assert values[1] > values[0] > values[2]
        assert -250 < values[2] < values[1] < 0
    params, _ = maml._run([{"goal": (0.3, 0.25)}], 2, None, None, evaluate=False)
    assert torch.equal(StackedActor(model.policy).get_vector(), params[-1][0])


class Matrix(gym.Env[Any, Any]):
    """One step, an action of two dimensions."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Box(-1, 1, (2, 3))

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action.shape == (2, 3)
        return np.zeros(2, dtype=np.float32), self.scale * float(action.sum()), True, False, {}


def test_actions_have_the_spaces_shape() -> None:
    maml = MAML("MlpPolicy", Matrix, [{"scale": 1.0}, {"scale": -1.0}], episodes_per_task=4, seed=0, device="cpu")
    maml.learn(1)
    assert maml.adapt({"scale": 1.0}).num_timesteps == 4


def test_discrete_actions_and_a_sampler_of_tasks() -> None:
    def sampler(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
        return [{"sutton_barto_reward": bool(rng.integers(2))} for _ in range(n)]

    maml = MAML("MlpPolicy", "CartPole-v1", sampler, tasks_per_iteration=2, episodes_per_task=2, seed=0, device="cpu")
    before = meta_parameters(maml)
    maml.learn(100)
    assert moved(before, maml)
    assert maml.evaluate([{}], steps=1).shape == (2, 1, 2)


@pytest.mark.parametrize("outer", ["trpo", "ppo", "reptile"])
def test_the_k_target_acts_in_training_with_every_outer_update(outer: str) -> None:
    """A heavy one draws every layer's gate towards its level, where the same training without it does not."""
    distances = {}
    for weight in (0.0, 100.0):
        kwargs = {"net_arch": [8, 8], "k_target_weight": weight, "k_target": 0.3, "k_lr_ratio": 1.0}
        maml = make(policy=KGatedPolicy, outer=outer, policy_kwargs=kwargs, inner_lr=0.02, learning_rate=0.03)
        policy: Any = maml.learn(240).policy
        distances[weight] = policy.regularizer(policy.gates.values()).item()
    assert distances[100.0] < 0.9 * distances[0.0]


def test_the_level_of_the_k_target_follows_the_task_difficulty() -> None:
    maml = make(policy=KGatedPolicy, policy_kwargs={"net_arch": [8, 8], "k_target_weight": 1.0})
    policy: Any = maml.policy
    params = maml._actor.get_vector()[None]
    for tau in (0.0, 1.0):
        policy.task_difficulty = tau
        expected = policy.regularizer(policy.gates.values()).detach()
        torch.testing.assert_close(maml._actor.k_target.value(params)[0], expected)


def test_a_regularizer_of_another_kind_is_refused() -> None:
    class Other:
        def add_gradient(self, gate: Any) -> None: ...

    policy: Any = make(policy=KGatedPolicy).policy
    next(iter(policy.gates.values())).regularizers = [Other()]
    with pytest.raises(
        ValueError, match=r"regularizer of gate 'mlp_extractor\.policy_net\.1' must be a KTarget .* Other"
    ):
        StackedActor(policy)


@pytest.mark.parametrize("ratio", [0.0, 1.0, 7.0])
def test_the_inner_steps_of_the_gates_have_the_policies_own_ratio(ratio: float) -> None:
    kwargs = {"net_arch": [8, 8], "k_lr_ratio": ratio}
    maml = make(policy=KGatedPolicy, policy_kwargs=kwargs, inner_lr=0.1, outer="ppo", learning_rate=1e-3)
    for name, part in maml._actor.slices():
        expected = 0.1 * ratio if name.endswith(".k") else 0.1
        assert maml.inner_rates[part].tolist() == pytest.approx([expected] * maml.inner_rates[part].numel())
    before = maml._actor.get_vector()
    maml._optimize(torch.ones_like(before))  # Adam's first step is as long as its rate
    steps = before - maml._actor.get_vector()
    for name, part in maml._actor.slices():
        expected = 1e-3 * ratio if name.endswith(".k") else 1e-3
        torch.testing.assert_close(steps[part], torch.full_like(steps[part], expected), rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize(
    "env_id", ["nb_gym:NBPendulum-v0", "nb_gym:Navigation2D-v0", "gymnasium.envs.classic_control:Pendulum-v1"]
)
def test_ids_may_name_a_module_to_import(env_id: str) -> None:
    bare = env_id.rpartition(":")[2]
    returns = [
        MAML("MlpPolicy", each, [{}, {}], episodes_per_task=2, seed=0, device="cpu").evaluate([{}], seed=1)
        for each in (env_id, bare)
    ]
    assert_array_equal(*returns)
    native = Environments.registered(env_id) is not None
    assert native == (Environments.registered(bare) is not None) == env_id.startswith("nb_gym")


def test_ids_without_a_version_are_the_newest() -> None:
    with pytest.warns(UserWarning, match="latest versioned environment"):
        newest = make_task_envs("nb_gym:NBPendulum", [{}], 2)
    assert isinstance(newest, NBPendulumVectorEnv) or isinstance(newest.unwrapped, NBPendulumVectorEnv)


def test_a_module_that_is_not_there_is_gymnasiums_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        MAML("MlpPolicy", "no_such_module:NBPendulum-v0", [{}], episodes_per_task=2)
