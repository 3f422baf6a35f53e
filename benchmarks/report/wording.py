"""Numbers, intervals, contexts and budgets as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.methods.registry import METHODS
from benchmarks.protocol.spec import RunSpec, Source
from benchmarks.runs.records import FinishedRun, Run
from nb_evaluation.stats.estimates import Estimate

FEWEST_SEEDS = 5
"""With fewer no interval is shown: a bootstrap interval cannot be wider than the scores are apart."""

INTERVALS = (
    "The intervals are percentile bootstrap intervals, which cover less than the nominal 95 % at few seeds (of normal"
    f" scores 90 % at 5 seeds, 94 % at 10); with fewer than {FEWEST_SEEDS} none is shown."
)


def number(value: float, *, signed: bool = False, digits: int = 1) -> str:
    """A number as text, with a true minus and no decimals from a thousand on; empty for NaN, "∞" where infinite."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = 0 if abs(value) >= 1000 else digits
    return f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "−")


def interval(estimate: Estimate, num_seeds: int, *, signed: bool = False, digits: int = 1) -> str:
    """An estimate as text, "point [low, high]"; the point alone with less than `FEWEST_SEEDS`."""
    point = number(estimate.point, signed=signed, digits=digits)
    if math.isnan(estimate.point) or num_seeds < FEWEST_SEEDS:
        return point
    low, high = (number(end, signed=signed, digits=digits) for end in (estimate.low, estimate.high))
    return f"{point} [{low}, {high}]"


def describe_context(context: Source) -> str:
    """`A = 1.8, torque_gain = −1`, or `A ~ U[1, 1.5]`."""
    parts = [
        f"{name} ~ U[{value[0]:g}, {value[1]:g}]" if isinstance(value, tuple) else f"{name} = {value:g}"
        for name, value in context.items()
    ]
    return ", ".join(parts).replace("-", "−") or "the defaults"


def describe_seeds(seeds: Sequence[int]) -> str:
    """`5 seeds (100 to 104)`, or `3 seeds (100, 102 to 103)`; they come in rising order, each once."""
    ranges = [[seed for _, seed in group] for _, group in groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])]
    told = ", ".join(f"{each[0]} to {each[-1]}" if len(each) > 1 else f"{each[0]}" for each in ranges)
    return f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({told})"


def describe_budget(spec: RunSpec) -> str:
    """`50 + 100 episodes of 1,000 physics steps`."""
    return f"{spec.pretrain_episodes} + {spec.transfer_episodes} episodes of 1,000 physics steps"


def caption(runs: Sequence[FinishedRun[Any, Any]], command: str, *, budget: str = "", route: str = "") -> str:
    """What a reader has to know to make the tables and figures again: seeds, budget, command, code.

    Args:
        runs: at least one.
        command: what made them.
        budget: in words, where `describe_budget` does not tell all of it.
        route: from where to where, where the runs have more than one target.
    """
    spec = runs[0].spec
    route = route or f"{describe_context(spec.source)} → {describe_context(spec.target)}"
    seeds = sorted({run.spec.seed for run in runs})
    commits = sorted({run.commit or "no commit" for run in runs})
    intervals = " and 95 % bootstrap intervals" if len(seeds) >= FEWEST_SEEDS else ""
    return (
        f"Interquartile means{intervals} over {describe_seeds(seeds)}; {spec.algo.upper()};"
        f" {budget or describe_budget(spec)}; {route}."
        f" Made by `{command}` at {', '.join(commits)}."
    )


def conditions(runs: Sequence[Run]) -> str:
    """Who sees and trains what: the methods share a task that the reference controllers do not have."""
    settings = runs[0].spec.settings
    sentences = [
        f"Policies observe {', '.join(settings.observe)} and decide once per {settings.frame_skip} physics steps;"
        " reference controllers decide at every step, and PD and bang-bang see only θ and θ̇."
    ]
    if any(METHODS[run.spec.method].adapts == "gates" for run in runs):
        sentences.append(
            "With `-k` the critic and the spread of the exploration train as well; no deployed policy contains them."
        )
    return " ".join(sentences)


def meta_tasks(runs: Sequence[FinishedRun[Any, Any]]) -> str:
    """What the meta-learners were given to learn from, which decides what can be expected of them; empty without any.

    A single task leaves a meta-learner nothing to learn about how tasks differ.
    """
    if all(run.spec.meta is None for run in runs):
        return ""
    source = runs[0].spec.source
    where = describe_context(source)
    if any(isinstance(value, tuple) for value in source.values()):
        return f"Meta-learners draw their tasks from the source, {where}."
    return f"Meta-learners have one task to learn from, the source that all methods train on, {where}."


def told_apart(differences: Mapping[str, Estimate], baseline: str) -> str:
    """Which methods are above or below another, and which cannot be told from it; empty where there are none.

    Args:
        differences: to `baseline`, by method, from runs enough for an interval.
        baseline: a method's name.
    """
    sides: dict[str, list[str]] = {"above": [], "below": [], "not told from": []}
    for name, difference in differences.items():
        side = "not told from" if not difference.excludes(0.0) else "above" if difference.low > 0.0 else "below"
        sides[side].append(f"`{name}`")
    parts = [f"{', '.join(names)} {side} `{baseline}`" for side, names in sides.items() if names]
    rule = " (each by whether the 95 % interval of its paired difference excludes zero, uncorrected for their number)"
    return "; ".join(parts) + rule if parts else ""
