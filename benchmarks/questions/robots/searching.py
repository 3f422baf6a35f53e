"""Two signed gates in the source policy, or a factor of its actions, searched in the first episodes of a target."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.questions.robots.results import Adaptation, RobotsResult, Row
from benchmarks.questions.robots.training import (
    Evaluator,
    Source,
    build_ppo,
    held,
    make_robots,
    name_of,
    normalised,
    source,
)
from benchmarks.questions.robots.worlds import EARLY, Robot
from nb_agents import Battery, SignedKGate, retrofit, search_k
from nb_agents.adaptation.evolution import maximise
from nb_agents.returns import first_episodes


def search(method: str, robot: Robot, width: int, target: str, seed: int, before: int, steps: int) -> RobotsResult:
    """Search one or two numbers by CMA-ES, an episode for each candidate and no gradient step.

    The arguments are those of `adapting.adapt`; `EARLY` episodes are played, whatever ``steps`` allows.
    """
    model, begin = gated(robot, width, seed, before)
    here, home = (Evaluator(robot, context, begin.observations) for context in (robot.targets[target], {}))
    battery = Battery(model)
    battery.capture("source")
    known, zero = home(model.policy), here(model.policy)
    policy, values, scores = find(method, model.policy, begin, robot, target, seed)
    returns = {target: here(policy), "source": home(policy)}
    swapped = None
    if method == "nb-k-cma":
        model.policy.load_state_dict(policy.state_dict())
        battery.apply("source")
        swapped = home(model.policy)
    spent, numbers = EARLY * robot.episode, len(values)
    adaptation = Adaptation([0, spent], [zero, returns[target]], scores.round(3).tolist(), known, swapped)
    return RobotsResult({method: Row(returns, numbers, begin.steps, spent)}, adaptation)


def gated(robot: Robot, width: int, seed: int, before: int) -> tuple[Any, Source]:
    """A model of the source policy with a signed gate for each layer, and the source."""
    begin = source(name_of(robot), width, seed, before)
    plain = build_ppo("MlpPolicy", normalised(make_robots(robot, 8, {})), seed, width)
    plain.policy.load_state_dict(begin.state)
    return retrofit(plain, None, gate_class=SignedKGate), begin


def find(
    method: str, policy: Any, begin: Source, robot: Robot, target: str, seed: int
) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    """Search the k's of a policy, or a factor of its actions, in `EARLY` episodes of a target.

    Returns:
        The policy with the best numbers, these, and the returns of all episodes, shape ``(EARLY,)``.
    """
    env, starts = held(make_robots(robot, 1, robot.targets[target]), begin.observations), iter(range(EARLY))

    def return_of(policy: Any) -> float:
        return float(first_episodes(policy, env, seed=1_000 * seed + next(starts))[0])

    if method == "nb-k-cma":
        found = search_k(policy, return_of, EARLY, seed=seed)
        return found.policy, found.values, found.scores
    best, scores = maximise(lambda x: return_of(scaled(policy, x)), np.ones(1), 1.0, EARLY, population=4, seed=seed)
    return scaled(policy, best), best, scores


def scaled(policy: Any, factor: NDArray[np.float64]) -> Any:
    """A copy of a policy whose mean actions are multiplied by a number, shape ``(1,)``."""
    twin = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in twin.action_net.parameters():
            parameter.mul_(float(factor[0]))
    return twin
