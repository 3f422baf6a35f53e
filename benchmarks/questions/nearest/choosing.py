"""The ways to choose one of the stored k-sets by recent steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.questions.nearest.worlds import Behaviours
from nb_agents import Transitions
from nb_agents.battery.distributions import components, log_likelihood, prepare

GAMMA, HIGHEST = 0.9, 20.0
"""Discount of what came of an action, and the largest weight that an action has for it (Peng et al. 2019)."""

Choice = Callable[[Behaviours, int], int]


def choose(method: str, seen: Behaviours) -> NDArray[np.int64]:
    """Index of the k-set that a method chooses in each trial, shape `(8, 8)`."""
    return np.array([CHOICES[method](seen, row) for row in range(64)]).reshape(8, 8)


def by_dynamics(seen: Behaviours, row: int) -> int:
    """The battery's own choice."""
    names = [*seen.battery][:8]
    return names.index(seen.battery.nearest(seen.trial(row), among=names))


def by_likelihood(seen: Behaviours, row: int) -> int:
    """The k-set under which the actions are most likely."""
    steps = seen.trial(row)
    return most_likely(seen, steps, np.ones(len(steps.rewards)))


def by_advantage(seen: Behaviours, row: int) -> int:
    """The same, with weights that grow with the rewards that followed."""
    steps = seen.trial(row)
    to_go, following = np.zeros(len(steps.rewards)), 0.0
    for i in reversed(range(len(to_go))):
        following = steps.rewards[i] + GAMMA * following
        to_go[i] = following
    advantage = (to_go - to_go.mean()) / (to_go.std() + 1e-8)
    return most_likely(seen, steps, np.minimum(np.exp(advantage), HIGHEST))


def most_likely(seen: Behaviours, steps: Transitions, weights: NDArray[np.float64]) -> int:
    """The k-set with the largest weighted likelihood of the actions."""
    policy, n = seen.battery.network, len(weights)
    tensors, actions, scores = prepare(policy, steps.observations), torch.as_tensor(steps.actions), []
    for k_set in range(8):
        with torch.no_grad(), seen.battery.per_row([k_set] * n):
            scores.append(float((log_likelihood(components(policy, tensors), actions).numpy() * weights).sum()))
    return int(np.argmax(scores))


def by_return(seen: Behaviours, row: int) -> int:
    """The k-set that was paid as much when it was stored."""
    return int(np.argmin(np.abs(seen.paid - seen.trial(row).rewards.mean())))


def by_trial(seen: Behaviours, row: int) -> int:
    """The k-set that returns most in the task, when each acts for as many steps."""
    returns: Any = seen.recent.rewards.sum(axis=0).reshape(8, 8)[row // 8]
    return int(np.argmax(returns))


CHOICES: dict[str, Choice] = {
    "dynamics": by_dynamics,
    "likelihood": by_likelihood,
    "advantage": by_advantage,
    "return": by_return,
    "trial": by_trial,
}
