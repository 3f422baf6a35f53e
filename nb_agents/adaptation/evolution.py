"""CMA-ES over a few numbers whose scores may be noisy: candidates are handed out one by one, and may be tried again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nb_agents._checks import check_count

Floats = NDArray[np.float64]

FINALISTS = 3
"""Candidates that share the episodes in which the best are tried again."""


class Evolution:
    """A search of numbers by CMA-ES (Hansen & Ostermeier, 2001), which is the package ``cma``'s.

    A candidate may be tried several times; its score is the mean. One that is not finite counts as a bad one.

    Attributes:
        candidates: Numbers that were tried or are to be tried, shape ``(n,)`` each; the start is the first.
        scores: Scores of each of them in order.

    Args:
        start: The first candidate, shape ``(n,)``.
        sigma: First standard deviation of the search.
        population: Candidates per generation, at least 2.
        rng: Source of the candidates.
        bounded: Whether candidates lie in [−1, 1].

    Raises:
        ImportError: If cma is not installed.
        ValueError: If ``population`` is out of its range.
    """

    def __init__(
        self, start: Floats, sigma: float, population: int, rng: np.random.Generator, *, bounded: bool = False
    ) -> None:
        population = check_count("population", population, 2)
        try:
            import cma
        except ImportError as error:
            raise ImportError('searching needs cma: pip install "neural-battery[search]"') from error
        self.candidates, self.scores = [start], list[list[float]]([[]])
        self._bounded, self._n = bounded, len(start)
        self._asked: Sequence[Floats] = ()
        self._handed_out = 0
        options = {
            "popsize": population,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": math.nan,  # leaves NumPy's global generator alone
            "verbose": -9,
        }
        # It is made for two coordinates and more: a lonely one gets another beside it, on which nothing depends.
        self._strategy = cma.CMAEvolutionStrategy(np.pad(start, (0, self._n == 1)), sigma, options)

    def next(self) -> int | None:
        """Index of a candidate that is to be tried next; None while scores of its generation are awaited."""
        if self._handed_out == len(self.candidates):
            if self._asked:
                return None
            self._asked = self._strategy.ask()
            own = [each[: self._n] for each in self._asked]
            self.candidates += [np.clip(each, -1.0, 1.0) if self._bounded else each for each in own]
            self.scores += [[] for _ in own]
        self._handed_out += 1
        return self._handed_out - 1

    def tell(self, index: int, score: float) -> None:
        """Score of a candidate, higher is better."""
        self.scores[index].append(float(score))
        generation = self.scores[len(self.scores) - len(self._asked) :] if self._asked else []
        if generation and all(generation):
            self._end(self.candidates[-len(generation) :])

    def _end(self, seen: Sequence[Floats]) -> None:
        """Steps beyond the bounds cost what they are too long."""
        beyond = [float(np.square(a[: self._n] - near).sum()) for a, near in zip(self._asked, seen, strict=True)]
        worth = self.worth()
        scale = max(np.ptp(worth), 1e-12)
        costs = [scale * far - score for far, score in zip(beyond, worth[-len(seen) :], strict=True)]
        self._strategy.tell(self._asked, costs)
        self._asked = ()

    def worth(self) -> Floats:
        """Mean scores of the candidates that were tried, shape ``(n_tried,)``.

        Those that are not finite stand below the worst by the spread of the others.
        """
        worth = np.array([np.mean(each) for each in self.scores if each])
        known = worth[np.isfinite(worth)]
        worth[~np.isfinite(worth)] = known.min() - max(np.ptp(known), 1.0) if known.size else 0.0
        return worth

    def again(self, n: int) -> list[int]:
        """Which candidates ``n`` further tries should go to: of the best ones by now, those with the fewest tries."""
        tries = [len(each) for each in self.scores if each]
        if not tries:
            return [0] * n
        leaders = np.argsort(-self.worth(), kind="stable")[: max(n, FINALISTS)]
        order = sorted(leaders.tolist(), key=lambda index: tries[index])
        return [order[i % len(order)] for i in range(n)]

    def best(self, tries: int = 1) -> int:
        """The candidate with the highest mean of those with so many tries, or of all if there is none."""
        worth, counts = self.worth(), np.array([len(each) for each in self.scores if each])
        return int(np.argmax(np.where(counts >= tries, worth, -np.inf) if (counts >= tries).any() else worth))


def maximise(
    score_of: Callable[[Floats], float],
    start: ArrayLike,
    sigma: float,
    budget: int,
    population: int,
    seed: Any,
) -> tuple[Floats, Floats]:
    """Search numbers by CMA-ES, each candidate tried once.

    Args:
        score_of: Score of candidates of shape ``(n,)``, higher is better.
        start: The first candidate, shape ``(n,)``.
        sigma: First standard deviation of the search.
        budget: Number of candidates.
        population: Candidates per generation, at least 2.
        seed: Seed of the search, as `numpy.random.default_rng` takes it.

    Returns:
        The best candidate, and the scores of all in the order in which they were tried, shape ``(budget,)``.

    Raises:
        ImportError: If cma is not installed.
        ValueError: If a number is out of its range.
    """
    budget = check_count("budget", budget)
    evolution = Evolution(np.asarray(start, dtype=np.float64), sigma, population, np.random.default_rng(seed))
    for _ in range(budget):
        index = evolution.next()
        assert index is not None
        evolution.tell(index, score_of(evolution.candidates[index]))
    return evolution.candidates[evolution.best()], np.array([each[0] for each in evolution.scores if each])
