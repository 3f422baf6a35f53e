"""Numbers, intervals, seeds and verdicts as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from nb_evaluation.runs.records import FinishedRun
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


def describe_seeds(seeds: Sequence[int]) -> str:
    """`5 seeds (100 to 104)`, or `3 seeds (100, 102 to 103)`; they come in rising order, each once."""
    ranges = [[seed for _, seed in group] for _, group in groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])]
    listed = ", ".join(f"{each[0]} to {each[-1]}" if len(each) > 1 else f"{each[0]}" for each in ranges)
    return f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({listed})"


def caption(runs: Sequence[FinishedRun[Any, Any]], command: str, what: str = "") -> str:
    """What a reader has to know to make tables and figures again: seeds, budget, command, code.

    Args:
        runs: Runs, at least one.
        command: Command that made them.
        what: Algorithm, budget and tasks in words.
    """
    seeds = sorted({run.spec.seed for run in runs})
    intervals = " and 95 % bootstrap intervals" if len(seeds) >= FEWEST_SEEDS else ""
    parts = [f"Interquartile means{intervals} over {describe_seeds(seeds)}", what]
    return f"{'; '.join(filter(None, parts))}. {made_by(runs, command)}"


def made_by(runs: Iterable[FinishedRun[Any, Any]], command: str) -> str:
    """The sentence that names the command and the commits of the code."""
    return f"Made by `{command}` at {', '.join(sorted({run.commit or 'no commit' for run in runs}))}."


def told_apart(differences: Mapping[str, Estimate], baseline: str) -> str:
    """Which methods are above or below another, and which do not differ from it; empty where there are none.

    Args:
        differences: Differences to `baseline` by method, of enough runs for an interval.
        baseline: Name of a method.
    """
    sides: dict[str, list[str]] = {"above": [], "below": [], "not told from": []}
    for name, difference in differences.items():
        side = "not told from" if not difference.excludes(0.0) else "above" if difference.low > 0.0 else "below"
        sides[side].append(f"`{name}`")
    parts = [f"{', '.join(names)} {side} `{baseline}`" for side, names in sides.items() if names]
    rule = " (each by whether the 95 % interval of its paired difference excludes zero, uncorrected for their number)"
    return "; ".join(parts) + rule if parts else ""
