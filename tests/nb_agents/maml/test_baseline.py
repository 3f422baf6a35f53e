"""Advantages: the baseline's fit, generalised advantage estimation, and what truncation means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nb_agents.maml.baseline import _time_features, advantages, baseline_values, bootstrap_values, discounted_sums
from nb_agents.maml.rollout import Rollout

GAMMA = 0.9


def make_rollout(rewards: torch.Tensor, observations: torch.Tensor, *, terminated: bool) -> Rollout:
    """Episodes of equal length; rewards ``(tasks, E, T)``, observations ``(tasks, E, T + 1, F)``."""
    tasks, episodes, steps = rewards.shape
    return Rollout(
        observations=observations[:, :, :-1],
        final_observations=observations[:, :, -1],
        actions=torch.zeros(tasks, episodes, steps, 1),
        outputs=torch.zeros(tasks, episodes, steps, 2),
        rewards=rewards.double(),
        mask=torch.ones_like(rewards).double(),
        terminated=torch.full((tasks, episodes), terminated),
    )


def random_rollout(*, terminated: bool, tasks: int = 2, episodes: int = 8, steps: int = 30) -> Rollout:
    observations = torch.randn(tasks, episodes, steps + 1, 3, dtype=torch.float64)
    return make_rollout(torch.randn(tasks, episodes, steps), observations, terminated=terminated)


def returns_to_go(rollout: Rollout, end: torch.Tensor) -> torch.Tensor:
    """The definition, term by term."""
    steps = rollout.rewards.shape[2]
    return torch.stack(
        [
            sum(GAMMA ** (k - t) * rollout.rewards[:, :, k] for k in range(t, steps)) + GAMMA ** (steps - t) * end
            for t in range(steps)
        ],
        dim=2,
    )


def test_the_baseline_is_fitted_to_each_task_and_each_rollout() -> None:
    """garage #2301 fitted a copy of the value function, so that the one in use never changed."""
    first = random_rollout(terminated=True)
    for rollout in (first, replace(first, rewards=5.0 + 3.0 * first.rewards)):
        targets = returns_to_go(rollout, torch.zeros(2, 8, dtype=torch.float64))
        # A return that is linear in the observations is fitted exactly, by weights that differ between the tasks.
        weights = torch.tensor([[1.0, -2.0, 0.5], [-3.0, 0.0, 4.0]], dtype=torch.float64)
        value = torch.einsum("tesf,tf->tes", rollout.observations, weights) + targets.mean()
        following = torch.cat([value[:, :, 1:], torch.zeros_like(value[:, :, :1])], dim=2)
        linear = replace(rollout, rewards=value - GAMMA * following)
        fitted = baseline_values(linear, GAMMA, torch.zeros(2, 8, dtype=torch.float64))
        torch.testing.assert_close(fitted, value, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("gae_lambda", [1.0, 0.95, 0.5])
@pytest.mark.parametrize("terminated", [True, False])
def test_advantages_are_those_of_the_definition(terminated: bool, gae_lambda: float) -> None:
    rollout = random_rollout(terminated=terminated)
    tail = bootstrap_values(rollout, GAMMA)
    values = baseline_values(rollout, GAMMA, tail)
    following = torch.cat([values[:, :, 1:], tail[:, :, None]], dim=2)
    deltas = rollout.rewards + GAMMA * following - values
    steps = deltas.shape[2]
    expected = torch.stack(
        [sum((GAMMA * gae_lambda) ** (k - t) * deltas[:, :, k] for k in range(t, steps)) for t in range(steps)], dim=2
    )
    expected = expected - expected.mean(dim=(1, 2), keepdim=True)
    expected = expected / expected.std(dim=(1, 2), keepdim=True, unbiased=False)
    torch.testing.assert_close(advantages(rollout, GAMMA, gae_lambda), expected)


def test_advantages_are_normalised_in_each_task_and_ignore_the_padding() -> None:
    rollout = random_rollout(terminated=True)
    rollout.rewards[1] *= 1000.0
    rollout.mask[:, ::2, 20:] = 0.0
    rollout.rewards.mul_(rollout.mask)
    result = advantages(rollout, GAMMA, 0.95)
    for task in range(2):
        valid = result[task][rollout.mask[task] == 1]
        assert float(valid.mean()) == pytest.approx(0.0, abs=1e-6)
        assert float(valid.std(unbiased=False)) == pytest.approx(1.0, abs=1e-6)
    assert not result[rollout.mask == 0].any()
    rubbish = replace(rollout, observations=torch.where(rollout.mask[..., None] == 1, rollout.observations, 1e6))
    torch.testing.assert_close(advantages(rubbish, GAMMA, 0.95), result)


def test_truncated_episodes_bootstrap_and_terminated_ones_do_not() -> None:
    """With a reward of 1 for ever, every state is worth 1 / (1 − γ), however short the episodes are."""
    rollout = random_rollout(terminated=False, steps=5)
    rollout.rewards.fill_(1.0)
    torch.testing.assert_close(bootstrap_values(rollout, GAMMA), torch.full((2, 8), 10.0, dtype=torch.float64))
    assert not bootstrap_values(replace(rollout, terminated=~rollout.terminated), GAMMA).any()
    assert not bootstrap_values(rollout, 1.0).any()


def test_where_some_episodes_terminate_only_the_others_bootstrap() -> None:
    rollout = random_rollout(terminated=False)
    rollout.terminated[:, ::2] = True
    tail = bootstrap_values(rollout, GAMMA)
    assert not tail[:, ::2].any()
    assert tail[:, 1::2].all()


def test_the_bootstrap_follows_the_state() -> None:
    """The reward is an observation that stays what it is: its value is r / (1 − γ)."""
    level = torch.linspace(-1, 1, 8, dtype=torch.float64).expand(2, 8)
    observations = level[:, :, None, None].expand(2, 8, 7, 1).clone()
    rollout = make_rollout(observations[:, :, :-1, 0].clone(), observations, terminated=False)
    torch.testing.assert_close(bootstrap_values(rollout, GAMMA), 10.0 * level, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("steps", [1, 100, 5000])
def test_time_features_are_bounded_whatever_the_length(steps: int) -> None:
    features = _time_features(torch.ones(1, 2, steps, dtype=torch.float64))
    assert features.shape == (1, 2, steps, 3)
    assert features.min() >= 0.0
    assert features.max() <= 1.0


def test_discounted_sums() -> None:
    torch.testing.assert_close(
        discounted_sums(torch.tensor([1.0, 2.0, 3.0]), 0.5), torch.tensor([1 + 1 + 0.75, 2 + 1.5, 3.0])
    )
