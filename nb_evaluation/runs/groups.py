"""Runs grouped by method, paired by seed, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.stats.estimates import Estimate, paired_difference

AnyRun = TypeVar("AnyRun", bound=FinishedRun[Any, Any])


def by_method(runs: Iterable[AnyRun], names: Iterable[str]) -> dict[str, list[AnyRun]]:
    """Runs grouped by method, in the order of `names`, each group sorted by seed.

    Raises:
        KeyError: A run is of a method that is not among `names`.
    """
    groups: dict[str, list[AnyRun]] = {name: [] for name in names}
    for run in runs:
        groups[run.spec.method].append(run)
    return {name: sorted(group, key=lambda run: run.spec.seed) for name, group in groups.items() if group}


def paired(groups: Mapping[str, Sequence[AnyRun]], baseline: str) -> dict[str, list[tuple[AnyRun, AnyRun]]]:
    """Each method's run and the baseline's, of the seeds that both have run; methods without one are left out."""
    base = {run.spec.seed: run for run in groups.get(baseline, ())}
    pairs = {
        name: [(run, base[run.spec.seed]) for run in group if run.spec.seed in base]
        for name, group in groups.items()
        if name != baseline
    }
    return {name: of_method for name, of_method in pairs.items() if of_method}


def difference(pairs: Iterable[tuple[AnyRun, AnyRun]], figure: Callable[[AnyRun], float]) -> Estimate:
    """Interquartile mean of how far a figure of each first run is above that of the second."""
    ours, theirs = zip(*[(figure(first), figure(second)) for first, second in pairs], strict=True)
    return paired_difference(ours, theirs, np.random.default_rng(0))
