"""What a sequence of tasks is judged by: average score over the tasks seen, forgetting, and the score on return."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.anchors import normalise, reference_returns
from benchmarks.sequence_runs import STRATEGIES, SequenceRun, SequenceSpec


def scores(spec: SequenceSpec, returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised scores of returns `(..., num_tasks)`."""
    columns = np.moveaxis(np.asarray(returns, dtype=np.float64), -1, 0)
    normalised = [
        [normalise(float(each), reference_returns(task)) for each in column.reshape(-1)]
        for column, task in zip(columns, spec.tasks, strict=True)
    ]
    return np.moveaxis(np.array(normalised).reshape(columns.shape), 0, -1)


def averages(run: SequenceRun) -> NDArray[np.float64]:
    """Mean normalised score over the tasks seen so far, after each stage: `(num_stages,)`."""
    normalised = scores(run.spec, np.array(run.result.returns))
    return np.array([
        row[sorted(set(run.spec.stages[: stage + 1]))].mean() for stage, row in enumerate(normalised)
    ])  # fmt: skip


def forgetting(run: SequenceRun, stage: int) -> float:
    """How far the score is below the best of an earlier stage, mean over the tasks seen before but the stage's own."""
    normalised = scores(run.spec, np.array(run.result.returns))
    stages = run.spec.stages
    lost = [
        normalised[stages.index(task) : stage, task].max() - normalised[stage, task]
        for task in set(stages[:stage]) - {stages[stage]}
    ]
    return float(np.mean(lost))


def on_return(run: SequenceRun) -> float:
    """Mean normalised score with which tasks are met again."""
    first_back = len(run.spec.tasks)
    tasks = run.spec.stages[first_back:]
    met = np.zeros(len(run.spec.tasks))
    met[list(tasks)] = run.result.arrivals[first_back:]
    return float(scores(run.spec, met)[list(tasks)].mean())


def by_strategy(runs: Sequence[SequenceRun]) -> dict[str, list[SequenceRun]]:
    """Runs grouped by method, in the order of `STRATEGIES`, each group sorted by seed."""
    groups = {name: [run for run in runs if run.spec.method == name] for name in STRATEGIES}
    return {name: sorted(group, key=lambda run: run.spec.seed) for name, group in groups.items() if group}
