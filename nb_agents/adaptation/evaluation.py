"""What a policy is worth from seeded starts, what it costs there, and whether two differ by more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._objects import uncompiled
from nb_agents.returns import as_it_is, first_episodes

Floats = NDArray[np.float64]
Infos = Sequence[Sequence[dict[str, Any]]]
"""The infos of each episode, step by step."""

RESAMPLES = 2_000


@dataclass(frozen=True)
class Evaluation:
    """Episodes of the deterministic policy from seeded starts.

    Attributes:
        returns: Sums of true rewards, shape ``(episodes,)``; the same place is the same start in every evaluation.
        cost: Mean over the episodes of their sums of ``info["cost"]``; None where no cost is limited.
        safe: Whether the cost is within its limit, and the user's function has found nothing.
    """

    returns: Floats
    cost: float | None
    safe: bool

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())


@dataclass(frozen=True)
class Starts:
    """How policies are evaluated.

    Attributes:
        env: Environments in which they act.
        episodes: Number of episodes, over all of them.
        seed: Seed of the first start.
        max_cost: Limit of the mean cost of an episode; None for none.
        unsafe: Function of the episodes' infos that says whether anything has gone wrong in them; None for none.
    """

    env: VecEnv
    episodes: int
    seed: int
    max_cost: float | None = None
    unsafe: Callable[[Infos], bool] | None = None

    def evaluate(self, model: BaseAlgorithm, *, fresh: bool = False) -> Evaluation:
        """The model's policy as it is now.

        Args:
            model: An SB3 model, whose present normalization holds.
            fresh: Whether the starts are others, which no other evaluation has seen.

        Raises:
            ValueError: If a cost is limited and the environment reports none.
        """
        n = self.env.num_envs
        rounds = -(-self.episodes // n)
        seed, returns, infos = self.seed + fresh * rounds * n, list[Floats](), list[list[dict[str, Any]]]()
        watched = self.max_cost is not None or self.unsafe is not None
        with as_it_is(self.env, model):
            for number in range(rounds):
                lived: list[list[dict[str, Any]]] = [[] for _ in range(n)]
                watch = _noting(lived) if watched else None
                returns.append(first_episodes(uncompiled(model.policy), self.env, seed + number * n, watch))
                infos += lived
        infos, cost = infos[: self.episodes], None
        if self.max_cost is not None:
            cost = float(np.mean([sum(_cost(info) for info in episode) for episode in infos]))
        safe = cost is None or self.max_cost is None or cost <= self.max_cost
        if self.unsafe is not None:
            safe = safe and not self.unsafe(infos)
        return Evaluation(np.concatenate(returns)[: self.episodes], cost, safe)


def _noting(lived: list[list[dict[str, Any]]]) -> Callable[[NDArray[np.bool_], list[dict[str, Any]]], None]:
    def watch(playing: NDArray[np.bool_], infos: list[dict[str, Any]]) -> None:
        for episode, plays, info in zip(lived, playing, infos, strict=True):
            if plays:
                episode.append(info)

    return watch


def _cost(info: dict[str, Any]) -> float:
    if "cost" not in info:
        raise ValueError(f"max_cost needs info['cost'] of every step in eval_env, which reports {sorted(info)}")
    return float(info["cost"])


def paired_interval(new: Floats, old: Floats, confidence: float) -> tuple[float, float]:
    """Interval of the mean of ``new - old`` over starts, by the percentile bootstrap.

    It is the mean and not `nb_evaluation`'s interquartile mean, for a fall from one start in ten is what is looked for.

    Args:
        new: Returns, shape ``(episodes,)``; one that is not finite is worse than any.
        old: Finite returns from the same starts.
        confidence: Coverage of the interval, in (0, 1).
    """
    if not np.isfinite(new).all():
        return -np.inf, -np.inf
    difference = new - old
    drawn = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)
