from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import nb_gym  # noqa: F401  (registers NBPendulum-v0)
from nb_agents.recipe.dagger import Episode, collect
from nb_agents.recipe.trainer import NeuralBatteryTrainer

MODES = list(AutoresetMode)


class Constant:
    def __init__(self, action: float) -> None:
        self.action = action

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[Any, None]:
        return np.full((len(observation), 1), self.action, dtype=np.float32), None


def pendulums(mode: AutoresetMode = AutoresetMode.DISABLED, n: int = 3, steps: int = 20) -> Any:
    return gym.make_vec("NBPendulum-v0", num_envs=n, episode_steps=steps, autoreset_mode=mode)


def push(observations: Any) -> Any:
    return np.full((len(observations), 1), 1.0)


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_is_what_the_environment_showed_did_and_gave(mode: AutoresetMode) -> None:
    episodes = collect(pendulums(mode), Constant(-0.5), push, np.random.default_rng(0), seed=7)
    env = pendulums()
    observations, _ = env.reset(seed=7)
    for t in range(20):
        np.testing.assert_array_equal([e.states[t] for e in episodes], observations)
        observations, rewards, *_ = env.step(np.full((3, 1), -0.5, dtype=np.float32))
        np.testing.assert_array_equal([e.rewards[t] for e in episodes], rewards)
    assert [e.states.shape for e in episodes] == [(20, 2)] * 3
    assert all((e.actions == -0.5).all() and (e.expert_actions == 1.0).all() for e in episodes)


class Ends(gym.Env[Any, Any]):
    """Terminates after a number of steps that differs from one environment to the next; shows the count."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Box(-2.0, 2.0, (1,))

    def __init__(self, length: int) -> None:
        self.length = length

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.full(1, self.t, dtype=np.float32), 1.0, self.t == self.length, False, {}


@pytest.mark.parametrize("mode", MODES)
def test_episodes_of_different_lengths_end_where_they_end(mode: AutoresetMode) -> None:
    env = SyncVectorEnv([lambda n=n: Ends(n) for n in (2, 7, 3)], autoreset_mode=mode)
    episodes = collect(env, Constant(0.0), push, np.random.default_rng(0))
    assert [episode.states.ravel().tolist() for episode in episodes] == [list(range(n)) for n in (2, 7, 3)]


@pytest.mark.parametrize(("mixing", "low", "high"), [(0.0, 0.0, 0.0), (0.3, 0.25, 0.35), (1.0, 1.0, 1.0)])
def test_mixing_is_the_share_of_the_experts_decisions(mixing: float, low: float, high: float) -> None:
    env = pendulums(n=10, steps=200)
    episodes = collect(env, Constant(-0.5), push, np.random.default_rng(0), mixing=mixing, seed=0)
    share = np.mean([episode.actions == 1.0 for episode in episodes])
    assert low <= share <= high


def test_labels_are_clipped_to_the_action_space() -> None:
    (episode,) = collect(pendulums(n=1), Constant(0.0), lambda obs: [[-9.0]], np.random.default_rng(0))
    assert (episode.expert_actions == -2.0).all()


def test_returns_are_discounted_sums_up_to_the_end() -> None:
    rewards = np.array([1.0, -2.0, 4.0])
    episode = Episode(*[np.zeros((3, 1))] * 3, rewards)
    assert episode.returns(0.5).tolist() == [1.0 - 1.0 + 1.0, -2.0 + 2.0, 4.0]
    assert episode.returns(1.0)[0] == rewards.sum()
    with pytest.raises(ValueError, match="gamma"):
        episode.returns(1.5)


@pytest.mark.parametrize(
    "labels",
    [
        lambda obs: np.zeros(3),
        lambda obs: np.zeros((3, 2)),
        lambda obs: np.zeros((2, 1)),
        lambda obs: np.full((3, 1), np.nan),
        lambda obs: None,
        lambda obs: [[0.0], [0.0, 0.0], [0.0]],
        lambda obs: (np.zeros((3, 1)), None),  # what SB3's predict returns
        lambda obs: torch.zeros(3, 1, requires_grad=True),
    ],
)
def test_an_expert_that_returns_something_else_is_refused_before_anything_moves(labels: Any) -> None:
    policy = NeuralBatteryTrainer(2, 1, seed=0).policy
    before = [parameter.clone() for parameter in policy.parameters()]
    with pytest.raises(ValueError, match=r"expert must return finite actions of shape \(3, 1\)"):
        collect(pendulums(), policy, labels, np.random.default_rng(0))
    assert all(a.equal(b) for a, b in zip(before, policy.parameters(), strict=True))


@pytest.mark.parametrize("mixing", [-0.1, 1.1, float("nan")])
def test_mixing_is_a_probability(mixing: float) -> None:
    with pytest.raises(ValueError, match="mixing"):
        collect(pendulums(), Constant(0.0), push, np.random.default_rng(0), mixing=mixing)


def test_spaces_other_than_boxes_are_refused() -> None:
    env = gym.make_vec("CartPole-v1", num_envs=2)
    with pytest.raises(TypeError, match="single_action_space"):
        collect(env, Constant(0.0), push, np.random.default_rng(0))
