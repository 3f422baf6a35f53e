"""What a watched training keeps and leaves behind."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from nb_agents import KeepBest, VectorEnvAdapter
from nb_agents.adaptation.evaluation import paired_interval
from nb_agents.policies.train_only import acting_parameters
from nb_agents.returns import first_episodes
from tests.nb_agents.adaptation.worlds import BOTH, Slide, acting, normalized, ready, slides


class Trace(BaseCallback):
    """The parameters as each rollout begins."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[torch.Tensor]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.seen.append([parameter.detach().clone() for parameter in self.model.policy.parameters()])


class Level(gym.Wrapper[Any, Any, Any, Any]):
    """All policies are worth the same."""

    def step(self, action: Any) -> Any:
        observation, _, *rest = self.env.step(action)
        return observation, 1.0, *rest


@BOTH
def test_watching_changes_nothing_of_a_training_in_which_nothing_is_decided(algorithm: Any) -> None:
    """Where all returns are the same there is nothing to keep, and the start goes back when the training ends."""
    traces = [Trace(), Trace()]
    ready(algorithm, 1e-3).learn(256, callback=traces[0])
    model = ready(algorithm, 1e-3)
    before = acting(model)
    keep = KeepBest(Level(Slide()), every=32)
    model.learn(256, callback=[keep, traces[1]])
    assert len(traces[0].seen) > 1
    for one, other in zip(traces[0].seen, traces[1].seen, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(traces[0].seen[0], traces[0].seen[-1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))
    assert [kept.step for kept in keep.kept] == [0]
    assert not keep.rolled_back


def test_what_is_better_is_kept_and_stored() -> None:
    """The start is spoiled, so that there is something to gain."""
    model = ready(PPO, 3e-3, slides(), what="gates")
    with torch.no_grad():
        for gate in model.policy.gates.values():
            gate.k -= 1.5
    keep = KeepBest(slides(20), every=128, episodes=20)
    logged: dict[str, Any] = {}
    model.set_logger(Logger(None, []))
    model.learn(4_000, callback=[keep, Note(logged)])
    assert len(keep.kept) > 2
    means = [kept.evaluation.mean for kept in keep.kept]
    assert means == sorted(means)
    assert list(keep.battery or ()) == [kept.name for kept in keep.kept] == [f"step {kept.step}" for kept in keep.kept]
    for kept in keep.kept:
        assert keep.battery is not None
        keep.battery.apply(kept.name)
        np.testing.assert_array_equal(first_episodes(model.policy, slides(20), 0), kept.evaluation.returns)
        assert keep.battery.metadata(kept.name)["return"] == kept.evaluation.mean
    assert keep.before is not None
    assert keep.after is not None
    np.testing.assert_array_equal(first_episodes(model.policy, slides(20), 20), keep.after.returns)
    assert paired_interval(keep.after.returns, keep.before.returns, 0.95)[0] > 0.0
    assert str(keep).startswith(f"kept step 0 ({means[0]:,.1f}), step ")
    assert "10 numbers guarded; return " in str(keep)
    assert logged["keep_best/kept"] <= len(keep.kept)
    assert logged["keep_best/best_return"] in means


class Note(BaseCallback):
    """The last values that were logged of what the callback records."""

    def __init__(self, into: dict[str, Any]) -> None:
        super().__init__()
        self.into = into

    def _on_step(self) -> bool:
        self.into |= {name: v for name, v in self.logger.name_to_value.items() if name.startswith("keep_best")}
        return True


def test_a_second_training_starts_from_where_the_first_has_ended() -> None:
    model, keep = ready(PPO, 1e-2), KeepBest(slides(10, 0.6), every=64)
    model.learn(256, callback=keep)
    left = acting(model)
    model.learn(256, callback=keep, reset_num_timesteps=False)
    assert keep.kept[0].step == 256
    trained = [
        (value, p) for value, (_, p) in zip(left, acting_parameters(model.policy), strict=True) if p.requires_grad
    ]
    assert trained
    assert all(torch.equal(value, keep.kept[0].snapshot.acting[p]) for value, p in trained)


@BOTH
def test_statistics_that_move_are_kept_with_the_numbers(algorithm: Any) -> None:
    """What goes back acts as it did, in the world as it was seen then; rewards are true."""
    env = normalized(0.6)
    model = ready(algorithm, 1.0, env)
    env.obs_rms.var[:] = 4.0
    env.obs_rms.count = 50.0
    keep = KeepBest(slides(10, 0.6), every=64)
    model.learn(256, callback=keep)
    assert env.obs_rms.count != 50.0 or keep.best.step == 0
    held = VecNormalize(slides(10, 0.6), training=False, norm_reward=False)
    held.obs_rms = env.obs_rms
    np.testing.assert_allclose(first_episodes(model.policy, held, 0), keep.best.evaluation.returns, rtol=1e-5)
    assert env.training
    assert env.norm_reward


def test_a_policy_without_gates_is_guarded_as_well() -> None:
    model = DQN("MlpPolicy", gym.make("CartPole-v1"), learning_starts=8, train_freq=8, learning_rate=1.0, device="cpu")
    keep = KeepBest(gym.make("CartPole-v1"), every=64)
    model.learn(256, callback=keep)
    assert keep.battery is None
    assert keep.after is not None
    assert keep.before is not None
    assert not paired_interval(keep.after.returns, keep.before.returns, 0.95)[1] < 0.0


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"eval_env": None}, TypeError, "eval_env must be a Gymnasium environment, .* got None"),
    ({"every": 0}, ValueError, "every must be an integer >= 1, got 0"),
    ({"episodes": 1}, ValueError, "episodes must be an integer >= 2, got 1"),
    ({"confidence": 1.5}, ValueError, r"confidence must be a number in \[0, 1\], got 1.5"),
    ({"confidence": 1}, ValueError, r"confidence must be in \(0, 1\), got 1"),
    ({"max_cost": np.nan}, ValueError, "max_cost must be any finite number, got nan"),
    ({"unsafe": True}, TypeError, "unsafe must be a function of the episodes' infos or None, got True"),
    ({"seed": -1}, ValueError, "seed must be an integer >= 0, got -1"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), BAD)
def test_bad_arguments_are_named(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KeepBest(**{"eval_env": Slide()} | kwargs)


def test_bad_environments_are_named_before_anything_is_trained() -> None:
    model = ready(PPO, 1e-3)
    before = acting(model)
    own = model.get_env().envs[0]
    cases = [
        (KeepBest(gym.make("CartPole-v1")), "eval_env must have the spaces that the model was trained with"),
        (KeepBest(model.get_env()), "eval_env must be another environment than the one in which the model trains"),
        (KeepBest(own), "eval_env must be another environment than the one in which the model trains"),
        (KeepBest(Nothing(), max_cost=1.0), r"max_cost needs info\['cost'\] of every step in eval_env"),
        (KeepBest(Endless()), "eval_env must give finite returns before the training"),
    ]
    for keep, message in cases:
        with pytest.raises(ValueError, match=message):
            model.learn(64, callback=keep)
    assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))


def test_vector_environments_are_taken_and_told_apart() -> None:
    envs = gym.make_vec("Pendulum-v1", num_envs=2)
    model = PPO("MlpPolicy", VectorEnvAdapter(envs), n_steps=8, batch_size=8, device="cpu")
    with pytest.raises(ValueError, match="eval_env must be another environment"):
        model.learn(16, callback=KeepBest(envs))
    keep = KeepBest(gym.make_vec("Pendulum-v1", num_envs=2), every=16, episodes=2)
    model.learn(32, callback=keep)
    assert keep.after is not None


class Nothing(Slide):
    """Reports no cost."""

    def step(self, action: Any) -> Any:
        return *super().step(action)[:-1], {}


class Endless(Slide):
    """Pays more than there is."""

    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, np.inf, *rest
