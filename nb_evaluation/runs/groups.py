"""Runs grouped by method and paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from nb_evaluation.runs.records import FinishedRun

AnyRun = TypeVar("AnyRun", bound=FinishedRun[Any, Any])


def by_method(runs: Iterable[AnyRun], names: Iterable[str]) -> dict[str, list[AnyRun]]:
    """Runs grouped by method, in the order of `names`, each group sorted by seed.

    Raises:
        KeyError: a run is of a method that is not among `names`.
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
