"""Two signed gates in the source policy, and the k's that CMA-ES finds in the first episodes of a target."""

from __future__ import annotations

from typing import Any

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
from nb_agents.returns import first_episodes


def search(method: str, robot: Robot, width: int, target: str, seed: int, before: int, steps: int) -> RobotsResult:
    """Search the k's of a gate per layer, an episode for each candidate and no gradient step.

    Args:
        method: Name of the method.
        robot: The robot.
        width: Units of a hidden layer.
        target: Name of the target.
        seed: Seed.
        before: Decisions of the source's training.
        steps: Decisions in the target at most, `EARLY` episodes.
    """
    model, begin = gated(robot, width, seed, before)
    here, home = (Evaluator(robot, context, begin.observations) for context in (robot.targets[target], {}))
    battery = Battery(model)
    battery.capture("source")
    known, zero = home(model.policy), here(model.policy)
    found = find(model, begin, robot, target, seed)
    model.policy.load_state_dict(found.policy.state_dict())
    returns = {target: here(model.policy), "source": home(model.policy)}
    battery.apply("source")
    spent, numbers = EARLY * robot.episode, len(found.values)
    adaptation = Adaptation(
        [0, spent], [zero, returns[target]], found.scores.round(3).tolist(), known, home(model.policy)
    )
    return RobotsResult({method: Row(returns, numbers, begin.steps, spent)}, adaptation)


def gated(robot: Robot, width: int, seed: int, before: int) -> tuple[Any, Source]:
    """A model of the source policy with a signed gate for each layer, and the source."""
    begin = source(name_of(robot), width, seed, before)
    plain = build_ppo("MlpPolicy", normalised(make_robots(robot, 8, {})), seed, width)
    plain.policy.load_state_dict(begin.state)
    return retrofit(plain, None, gate_class=SignedKGate), begin


def find(model: Any, begin: Source, robot: Robot, target: str, seed: int) -> Any:
    """Search the k's of a model in `EARLY` episodes of a target; see `nb_agents.search_k` for what is found."""
    env, starts = held(make_robots(robot, 1, robot.targets[target]), begin.observations), iter(range(EARLY))

    def return_of(policy: Any) -> float:
        return float(first_episodes(policy, env, seed=1_000 * seed + next(starts))[0])

    return search_k(model.policy, return_of, budget=EARLY, seed=seed)
