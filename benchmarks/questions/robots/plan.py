"""The methods, and what is run of them on which robot, with which width and how often."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.questions.robots.worlds import ROBOTS, Robot
from nb_evaluation.method import DENSE, Described, Style

FAMILY = "family"
"""Stands for a target where a policy is trained over many contexts, and measured in all of the robot's."""

CLAIMED = ("fine-tune", "nb-k-cma", "scale-cma", "retrofit-turned", "randomised-source", "recurrent")
"""Methods that the verdict is about, and its controls: run with all of a robot's seeds."""

SEEDS = 5
"""Seeds at most of the methods beside them."""

WIDE_SEEDS = {256: 3, 512: 2}
"""Seeds at most of a robot's widths that are not the first; a source of 512 units trains for a quarter of an hour."""


@dataclass(frozen=True, kw_only=True)
class Kind(Described):
    """A method.

    Attributes:
        over_contexts: Whether it is trained over many contexts, and not in the target.
    """

    over_contexts: bool = False


METHODS = {
    "fine-tune": Kind(summary="all weights", style=Style("#000000", "-", "o")),
    "nb": Kind(summary="a gate per layer is inserted, gates and weights train", style=Style("#0072B2", "-", "s")),
    "nb-pro": Kind(summary="the same with blocks of 16", style=Style("#0072B2", "--", "D")),
    "nb-k": Kind(summary="a gate per layer is inserted, and trains alone", style=Style("#56B4E9", "-", "^")),
    "nb-pro-k": Kind(summary="the same with blocks of 16", style=Style("#56B4E9", "--", "v")),
    "nb-k-cma": Kind(
        summary="a signed gate per layer is inserted, and its k is searched by CMA-ES in 25 episodes",
        style=Style("#56B4E9", ":", "o"),
    ),
    "scale-cma": Kind(
        summary="the action is multiplied by a number, which is searched likewise", style=Style("#E69F00", ":", "p")
    ),
    "head": Kind(summary="the last layer", style=Style("#E69F00", "-", "P")),
    "lora-1": Kind(summary="LoRA of rank 1 on all of the actor's layers", style=Style("#D55E00", "-", "<")),
    "lora-4": Kind(summary="LoRA of rank 4", style=Style("#D55E00", "--", ">")),
    "scratch": Kind(summary="a new policy", style=Style("#999999", ":", "x")),
    "student": Kind(
        summary="signed gates, k = f(context), and the student that infers k from 8 transitions",
        style=Style("#CC79A7", "-", "*"), over_contexts=True,
    ),
    "retrofit": Kind(
        summary="the same, on the source's weights: its gates are inserted there, and all goes on training",
        style=Style("#CC79A7", "--", "X"), over_contexts=True,
    ),
    "retrofit-turned": Kind(
        summary="the same; first the gates try both signs in each context, then they train alone for a while",
        style=Style("#CC79A7", DENSE, "D"), over_contexts=True,
    ),
    "randomised": Kind(
        summary="one policy over all contexts", style=Style("#009E73", "-", "h"), over_contexts=True
    ),
    "randomised-source": Kind(
        summary="the source goes on training over all contexts, and is told nothing",
        style=Style("#009E73", "--", "H"), over_contexts=True,
    ),
    "recurrent": Kind(summary="RecurrentPPO over all contexts", style=Style("#009E73", DENSE, "d"), over_contexts=True),
    "maml": Kind(summary="MAML, 0 to 5 inner steps", style=Style("#F0E442", "-", "p"), over_contexts=True),
}  # fmt: skip

SEARCHED = ("nb-k-cma", "scale-cma")
"""The methods that take no gradient step in a target: a few numbers are searched there."""

MAIN = ("fine-tune", "nb-pro", "nb-pro-k", "nb-k-cma", "scale-cma", "head", "lora-4")
"""Methods of the wide networks, and of the robots that are not the cheetah."""

DEFAULT = (*MAIN, "scratch", "student", "randomised")
"""Methods of the default job."""

REWARDED = ("fine-tune", "student", "randomised", "recurrent", "maml")
"""Methods of the robots whose tasks differ in what is paid for, which the last reward tells whoever observes it."""

PLAN = {"HalfCheetah": tuple(METHODS), "HalfCheetahDir": REWARDED, "HalfCheetahVel": REWARDED}
"""The methods of each robot; those of the others are `MAIN`."""


class Planned(NamedTuple):
    """Fields of a specification, beside the seed."""

    robot: str
    width: int
    target: str
    method: str
    before: int
    steps: int


def planned(options: argparse.Namespace, seed: int) -> Iterator[Planned]:
    """What is run of the options with a seed, the seeds counted from 0.

    What is trained over contexts comes first: while one worker is at that, another trains the source for all others.

    Raises:
        ValueError: A robot has no such target.
    """
    for name in ROBOTS if options.robots == ["all"] else dict.fromkeys(options.robots):
        robot, names = ROBOTS[name], _targets(name, options.targets)
        for width in _widths(robot, options.widths):
            wide = width != robot.widths[0]
            most = min(robot.seeds, WIDE_SEEDS.get(width, SEEDS)) if wide else robot.seeds
            for method in _methods(name, options.methods, wide):
                if seed >= (most if method in CLAIMED else min(most, SEEDS)):
                    continue
                if METHODS[method].over_contexts:
                    yield Planned(name, width, FAMILY, method, robot.family_steps, 0)
                    continue
                for target in names[:1] if wide else names:
                    yield Planned(name, width, target, method, robot.source_steps, robot.steps)


def _methods(robot: str, chosen: list[str], wide: bool) -> list[str]:
    known = [name for name in PLAN.get(robot, MAIN) if {name, "all"} & set(chosen) and not (wide and name not in MAIN)]
    return sorted(known, key=lambda name: not METHODS[name].over_contexts)


def _widths(robot: Robot, chosen: list[int | str] | None) -> list[int]:
    if chosen == ["all"]:
        return list(robot.widths)
    return list(dict.fromkeys(map(int, chosen or robot.widths[:1])))


def _targets(robot: str, chosen: list[str] | None) -> list[str]:
    known = list(ROBOTS[robot].targets)
    if chosen is None:
        return known[:1]
    if chosen == ["all"]:
        return known
    if lacking := [name for name in chosen if name not in known]:
        raise ValueError(f"targets of {robot} are {', '.join(known)}; got {lacking[0]!r}")
    return list(dict.fromkeys(chosen))
