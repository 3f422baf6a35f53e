"""MAML as an SB3 algorithm: what its loops train, in every variant; callbacks, counters and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from nb_agents import KGatedPolicy
from nb_agents.maml import (
    ANIL,
    FOMAML,
    MAML,
    JointTraining,
    MetaSGD,
    PPOClipUpdate,
    ProMP,
    Reptile,
    ReptileUpdate,
    TRPOUpdate,
)
from nb_agents.maml.actor import StackedActor
from tests.nb_agents.maml.goals import GOALS, make, meta_parameters, moved


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
