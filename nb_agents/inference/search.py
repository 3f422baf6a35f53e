"""k searched where nothing was trained to infer it: by CMA-ES over the context's few coordinates, or over the k's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nb_agents._checks import check_count, check_positive
from nb_agents.gates.gate import named_gates
from nb_agents.inference.conditioned import conditioned_nets

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        policy: Plain k-gated policy with the best k-set, to be kept in a battery, folded, or trained on.
        values: What was searched, at its best: the context, shape ``(n_given,)``, or the k's, shape ``(n_k,)``.
        score: Return of the policy there; finite, if any is.
        scores: Returns of all candidates in the order in which they were tried, shape ``(budget,)``; where one is not
            finite, as of an episode that blew up, the search goes on as with a bad one.
    """

    policy: Any
    values: Floats
    score: float
    scores: Floats


def search_context(
    policy: Any,
    return_of: Callable[[Any], float],
    low: ArrayLike,
    high: ArrayLike,
    *,
    budget: int = 25,
    population: int = 4,
    seed: int = 0,
) -> Found:
    """Search the coordinates of the context of a conditioned policy by CMA-ES.

    What f was trained on lies along few directions of the k's, so that few episodes do, and a context that is far away
    is as easy to reach as a near one. The middle of the box is tried first.

    Args:
        policy: Policy with ``k_from``.
        return_of: Return of a plain policy in the task, which sees the observations without the context, as from
            `stable_baselines3.common.evaluation.evaluate_policy` or one episode; higher is better.
        low: Least values of the context, as the policy observes them, shape ``(n_given,)``.
        high: Greatest values, likewise.
        budget: Number of candidates, one call of ``return_of`` each.
        population: Candidates per generation, at least 2.
        seed: Seed of the search.

    Raises:
        ImportError: If cma is not installed.
        TypeError: If ``policy`` is no policy.
        ValueError: If the policy's k's are not computed, the box is empty or of another shape, or a number is out of
            its range.
    """
    nets = list(conditioned_nets(_checked(policy)))
    if not nets:
        raise ValueError("policy must have k_from, a part of the observation; search_k searches the k's themselves")
    shape, ends = tuple(nets[0].given.shape), [np.asarray(each, dtype=np.float64) for each in (low, high)]
    if any(each.shape != shape or not np.isfinite(each).all() for each in ends) or not (ends[0] < ends[1]).all():
        raise ValueError(f"low and high must be finite numbers of shape {shape}, low < high, got {low!r} and {high!r}")
    middle, half = (ends[0] + ends[1]) / 2.0, (ends[1] - ends[0]) / 2.0
    found, scores = maximise(
        lambda x: return_of(policy.at(middle + half * x)), np.zeros(shape), 0.5, budget, population, seed, bounded=True
    )
    values = middle + half * found
    return Found(policy.at(values), values, float(scores[_best(scores)]), scores)


def search_k(
    policy: Any,
    return_of: Callable[[Any], float],
    *,
    budget: int = 25,
    sigma: float = 2.0,
    population: int = 4,
    seed: int = 0,
) -> Found:
    """Search all k's of a plain k-gated policy by CMA-ES; its own are tried first.

    Args:
        policy: A k-gated policy whose k's are parameters alone, which is left as it is; ``conditioned.at(context)``.
        return_of: See `search_context`.
        budget: Number of candidates, one call of ``return_of`` each.
        sigma: First standard deviation of the search in k, > 0.
        population: Candidates per generation, at least 2.
        seed: Seed of the search.

    Raises:
        ImportError: If cma is not installed.
        TypeError: If ``policy`` is no policy.
        ValueError: If the policy has no gates or its k's are computed, or a number is out of its range.
    """
    if any(conditioned_nets(_checked(policy))) or not any(named_gates(policy)):
        raise ValueError("policy must have gates whose k's are parameters alone; search_context searches computed ones")
    arguments, state = policy._get_constructor_parameters(), policy.state_dict()

    @torch.no_grad()
    def with_k(k: Floats) -> Any:
        with torch.random.fork_rng(devices=[]):
            twin: Any = type(policy)(**arguments)
        twin.load_state_dict(state)
        twin.to(policy.device).set_training_mode(False)
        parts = torch.split(torch.as_tensor(k), [len(gate.k) for gate in twin.gates.values()])
        for gate, part in zip(twin.gates.values(), parts, strict=True):
            gate.k.copy_(part)
        return twin

    start = torch.cat([gate.k.detach() for gate in policy.gates.values()]).double().cpu().numpy()
    sigma = check_positive("sigma", sigma)
    found, scores = maximise(lambda k: return_of(with_k(k)), start, sigma, budget, population, seed)
    return Found(with_k(found), found, float(scores[_best(scores)]), scores)


def _checked(policy: Any) -> Any:
    if not hasattr(policy, "modules"):
        hint = ": pass its policy" if hasattr(policy, "policy") else ""
        raise TypeError(f"policy must be a k-gated policy, got {type(policy).__name__}{hint}")
    return policy


def maximise(
    score_of: Callable[[Floats], float],
    start: Floats,
    sigma: float,
    budget: int,
    population: int,
    seed: int,
    *,
    bounded: bool = False,
) -> tuple[Floats, Floats]:
    """Search numbers by CMA-ES.

    Args:
        score_of: Score of candidates of shape ``(n,)``, higher is better; one that is not finite counts as a bad one.
        start: The first candidate, shape ``(n,)``.
        sigma: First standard deviation of the search.
        budget: Number of candidates.
        population: Candidates per generation, at least 2.
        seed: Seed of the search.
        bounded: Whether candidates lie in [−1, 1].

    Returns:
        The best candidate, and the scores of all in the order in which they were tried, shape ``(budget,)``.

    Raises:
        ImportError: If cma is not installed.
        ValueError: If a number is out of its range.
    """
    budget, population = check_count("budget", budget), check_count("population", population, 2)
    try:
        import cma
    except ImportError as error:
        raise ImportError('searching needs cma: pip install "neural-battery[search]"') from error
    rng, n = np.random.default_rng(seed), len(start)
    options = {
        "popsize": population,
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": math.nan,  # leaves NumPy's global generator alone
        "verbose": -9,
    }
    # It is made for two coordinates and more: a lonely one gets another beside it, on which nothing depends.
    strategy = cma.CMAEvolutionStrategy(np.pad(start, (0, n == 1)), sigma, options)
    tried, scores = [start], [float(score_of(start))]
    while len(tried) < budget:
        asked = strategy.ask()
        seen = [np.clip(each[:n], -1.0, 1.0) if bounded else each[:n] for each in asked][: budget - len(tried)]
        scores += [float(score_of(each)) for each in seen]
        tried += seen
        if len(seen) == len(asked):  # steps beyond the bounds cost what they are too long
            beyond = [float(np.square(each[:n] - near).sum()) for each, near in zip(asked, seen, strict=True)]
            worth = _worth(scores)
            scale = max(np.ptp(worth), 1e-12)
            strategy.tell(asked, [scale * far - score for far, score in zip(beyond, worth[-len(seen) :], strict=True)])
    return tried[_best(scores)], np.array(scores)


def _worth(scores: ArrayLike) -> Floats:
    """Scores in which those that are not finite stand below the worst by the spread of the others."""
    worth = np.array(scores, dtype=np.float64)
    known = worth[np.isfinite(worth)]
    worth[~np.isfinite(worth)] = known.min() - max(np.ptp(known), 1.0) if known.size else 0.0
    return worth


def _best(scores: ArrayLike) -> int:
    return int(np.argmax(_worth(scores)))
