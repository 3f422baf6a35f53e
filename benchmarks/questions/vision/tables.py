"""The tables of the accuracies, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.vision.methods import METHODS, STEPS
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.runs.groups import by_method, difference, paired
from nb_evaluation.stats.estimates import Estimate, interquartile_mean, iqm

RIVAL, FEW, SHARE, NEAR = "fine-tune", 64, 0.01, 2.0
"""The verdict: with `FEW` pictures, a set of at most `SHARE` of the numbers is `NEAR` points from `RIVAL` at most."""

CHOSEN = "bn-head"
"""The set of at most `SHARE` of the numbers that was best with `FEW` pictures on the tuning seeds."""

BYTES = 4
"""Of a number, in single precision."""


def accuracies(run: Any) -> NDArray[np.float64]:
    """Accuracies of a run in per cent, `(shifts, sizes)`."""
    return np.array(run.result.accuracy)


def mean_at(size: int) -> Callable[[Any], float]:
    """A function of a run: its mean accuracy over the shifts with so many pictures."""
    return lambda run: float(accuracies(run)[:, run.spec.sizes.index(size)].mean())


def of_set(runs: Sequence[Any], name: str) -> dict[str, list[Any]]:
    """The runs of a set, by method."""
    return by_method([run for run in runs if run.spec.set == name], METHODS)


def vision_tables(runs: Sequence[Any]) -> list[Table]:
    """Of each set: accuracies, differences to all weights, and the corruptions one by one."""
    found = []
    for name in dict.fromkeys(run.spec.set for run in runs):
        groups = of_set(runs, name)
        tables = [_accuracies(groups), _differences(groups), _corruptions(groups)]
        found += [Table(f"{name}: {each.title}", each.columns, each.rows, each.note) for each in tables if each.rows]
    return found


def _accuracies(groups: dict[str, list[Any]]) -> Table:
    first = next(iter(groups.values()))[0]
    sizes = first.spec.sizes
    rows = []
    for name, group in groups.items():
        means = [iqm([mean_at(size)(run) for run in group], np.random.default_rng(0)) for size in sizes]
        one = group[0].result
        share = f"{100.0 * one.numbers / one.total:.2f}"
        stored = [f"{one.numbers:,}", share, f"{BYTES * one.numbers:,}"]
        cells = [interval(each, len(group)) for each in means]
        rows.append([f"`{name}`", METHODS[name].summary, *stored, *cells, _worst(group), str(len(group))])
    heads = ["method", "", "numbers", "% of all", "bytes", *(f"{size} pictures" for size in sizes),
             f"worst shift, {_middle(sizes)}", "seeds"]  # fmt: skip
    clean = interquartile_mean([run.result.clean for group in groups.values() for run in group])
    note = (
        f"Accuracy in per cent on other pictures of the shift, {first.spec.tested:,} at most, mean over"
        f" {len(one.shifts)} shift{'s' if len(one.shifts) > 1 else ''}. Every method takes {STEPS} steps. On pictures"
        f" that are not shifted the network is right in {number(float(clean))} %. Numbers: those that are kept for a"
        " shift. Worst shift: the"
        " one with the lowest mean over the seeds."
    )
    return Table("accuracy on shifted pictures", heads, rows, note)


def _middle(sizes: Sequence[int]) -> int:
    return FEW if FEW in sizes else sizes[0]


def _worst(group: Sequence[Any]) -> str:
    sizes = group[0].spec.sizes
    means = np.mean([accuracies(run)[:, sizes.index(_middle(sizes))] for run in group], axis=0)
    return f"{number(float(means.min()))} ({group[0].result.shifts[int(means.argmin())]})"


def _differences(groups: dict[str, list[Any]]) -> Table:
    rows, sizes = [], next(iter(groups.values()))[0].spec.sizes
    for name, pairs in paired(groups, RIVAL).items():
        cells = [interval(difference(pairs, mean_at(size)), len(pairs), signed=True) for size in sizes]
        rows.append([f"`{name}`", *cells, str(len(pairs))])
    heads = ["method", *(f"{size} pictures" for size in sizes), "seeds"]
    note = f"Percentage points above `{RIVAL}`, seed by seed, of the mean over the shifts [95 % CI]."
    return Table(f"difference to `{RIVAL}`", heads, rows, note)


def _corruptions(groups: dict[str, list[Any]]) -> Table:
    one = next(iter(groups.values()))[0]
    kinds = list(dict.fromkeys(shift.rpartition(" ")[0] for shift in one.result.shifts))
    if len(kinds) < 2:
        return Table("", [], [])
    column, rows = one.spec.sizes.index(_middle(one.spec.sizes)), []
    for name, group in groups.items():
        each = np.array([accuracies(run)[:, column] for run in group])
        of_kind = [[shift.rpartition(" ")[0] == kind for shift in one.result.shifts] for kind in kinds]
        means = [iqm(each[:, rows_of].mean(axis=1), np.random.default_rng(0)) for rows_of in of_kind]
        rows.append([f"`{name}`", *(interval(mean, len(group)) for mean in means), str(len(group))])
    note = "Means over the severities of each corruption [95 % CI]."
    return Table(
        f"corruption by corruption, {_middle(one.spec.sizes)} pictures", ["method", *kinds, "seeds"], rows, note
    )


def vision_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether a set of few numbers comes near to all weights; None with few runs of both on Fashion-MNIST."""
    pairs = paired(of_set(runs, "fashion"), RIVAL).get(CHOSEN, [])
    pairs = [pair for pair in pairs if FEW in pair[0].spec.sizes]
    if len(pairs) < FEWEST_SEEDS:
        return None
    found: Estimate = difference(pairs, mean_at(FEW))
    one = pairs[0][0].result
    share = one.numbers / one.total
    which = f"`{CHOSEN}`, {one.numbers:,} numbers ({100.0 * share:.2f} %)"
    more = (
        f"`{CHOSEN}` − `{RIVAL}` with {FEW} pictures: {interval(found, len(pairs), signed=True)} points; chosen on the"
        f" tuning seeds among the sets of at most {SHARE:.0%} of the numbers."
    )
    if found.low > -NEAR and share <= SHARE:
        said = f"With {FEW} pictures of a shift, {which}, is within {NEAR:g} points of adapting all weights."
        return Verdict(said, "better", more, "within reach")
    said = f"With {FEW} pictures of a shift, {which}, is not shown to be within {NEAR:g} points of all weights."
    return Verdict(said, "worse", more, "missed")
