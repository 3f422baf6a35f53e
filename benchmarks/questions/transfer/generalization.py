"""How far do the policies carry? Return over A from 0 to 3, and over A and torque gain, from the runs of other jobs.

Nothing is run here: every run of the transfer job surveys its policy before and after the transfer (`landscape.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.methods import METHODS, by_method
from benchmarks.protocol.results import DRIVES
from benchmarks.protocol.run import Run
from benchmarks.questions.transfer.landscapes import draw_maps, draw_over_drive, drive_range
from nb_evaluation.report.style import Picture
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import interval, number
from nb_evaluation.stats.estimates import Estimate, iqm

HELD = -100.0
"""A policy holds a pendulum whose return is this or better."""

WHENS = ("before", "after")
FloatArray = NDArray[np.float64]


def survey_of(runs: Sequence[Run], when: str, part: str) -> FloatArray | None:
    """What the runs measured over other contexts.

    Args:
        runs: Runs of one method.
        when: "before" or "after" the transfer.
        part: Name of an attribute of `Landscape`.

    Returns:
        Shape `(num_runs, ...)`; None where a run has not measured it.
    """
    landscapes = [getattr(run.result, f"landscape_{when}") for run in runs]
    return None if None in landscapes else np.array([getattr(each, part) for each in landscapes])


def surveys(runs: Sequence[Run], when: str, part: str) -> dict[str, FloatArray]:
    """The same for each method that has it; before the transfer, only for methods with a pretraining of their own."""
    parts = {
        name: survey_of(group, when, part)
        for name, group in by_method(runs).items()
        if when == "after" or _has_own_source_policy(name, runs)
    }
    return {name: part for name, part in parts.items() if part is not None}


def _has_own_source_policy(name: str, runs: Sequence[Run]) -> bool:
    """Whether no other method in the figure comes from the same pretraining."""
    method = METHODS[name]
    return method.pretrains and (method.pretrains_as is None or method.pretrains_as not in by_method(runs))


def generalization_table(runs: Sequence[Run]) -> Table | None:
    """Returns inside and outside of the range of A from source to target, and what is held; None without surveys."""
    low, high = drive_range(runs[0].spec)
    drives = np.array(DRIVES)
    parts = {
        f"A from {drives[0]:g} to below {low:g}": drives < low,
        f"A from {low:g} to {high:g}": (low <= drives) & (drives <= high),
        f"A above {high:g} to {drives[-1]:g}": drives > high,
    }
    parts = {title: part for title, part in parts.items() if part.any()}
    rows = []
    for name, group in by_method(runs).items():
        line, held = survey_of(group, "after", "over_drive"), _held(group)
        if line is None or held is None:
            continue
        means = [line[:, part].mean(axis=1) for part in parts.values()]
        returns = [interval(iqm(each, np.random.default_rng(0)), len(each)) for each in means]
        before = "" if not METHODS[name].pretrains else number(held["before"].point, digits=0)
        after = interval(held["after"], len(group), digits=0)
        rows.append([f"`{name}`", *returns, before, after, str(len(group))])
    columns = [
        "method",
        *(f"{title} [95 % CI]" for title in parts),
        "held before, % of the map",
        "held after, % of the map [95 % CI]",
        "seeds",
    ]
    note = (
        "After the transfer unless it says before: mean return over that part of the line of A (steps of 0.1), and the"
        f" share of the map over A (0 to 3) and torque gain (−1.5 to 1.5) on which the return is"
        f" {number(HELD, digits=0)} or better. Above A = 2 the drive exceeds the torque limit, so that no"
        " controller can cancel it."
    )
    return Table("Beyond the training range", columns, rows, note) if rows else None


def _held(runs: Sequence[Run]) -> dict[str, Estimate] | None:
    """Share of the map that is held before and after, in per cent."""
    maps = {when: survey_of(runs, when, "over_drive_and_gain") for when in WHENS}
    shares = {when: 100 * (each >= HELD).mean(axis=(1, 2)) for when, each in maps.items() if each is not None}
    if len(shares) < len(WHENS):
        return None
    return {when: iqm(share, np.random.default_rng(0)) for when, share in shares.items()}


def generalization_pictures(runs: Sequence[Run]) -> list[Picture]:
    """Return against A and the map, each after the transfer and before it; none without surveys."""
    spec = runs[0].spec
    low, high = drive_range(spec)
    pictures = []
    for when in reversed(WHENS):
        lines = surveys(runs, when, "over_drive")
        maps = surveys(runs, when, "over_drive_and_gain")
        if not lines:
            continue
        names = ", ".join(lines)
        own = "" if when == "after" else " Methods that start from the same source policy are drawn once."
        pictures += [
            Picture(
                f"Return against A, {when} the transfer",
                f"Interquartile mean of the deterministic return, on a logarithmic axis, against A from 0 to 3, {when}"
                f" the transfer, a line for each of {names}; A from {low:g} to {high:g} is shaded.",
                f"Shaded: from the source's A to the target's; only `randomised` trains in between. Bands: pointwise"
                f" 95 % intervals. Dotted: no torque; sparsely dotted: drive cancelled + PD.{own}",
                draw_over_drive(lines, spec),
            ),
            Picture(
                f"Return over A and torque gain, {when} the transfer",
                f"A heat map for each of {names}: interquartile mean of the return over A from 0 to 3 and torque gain"
                f" from −1.5 to 1.5, {when} the transfer. Light is good.",
                "Interquartile mean over the seeds; light is good. Black line: return −100. Circle: source, star:"
                f" target. With a gain below 0 the torque acts the other way round; at 0 it does nothing.{own}",
                draw_maps(maps, spec),
            ),
        ]
    return pictures
