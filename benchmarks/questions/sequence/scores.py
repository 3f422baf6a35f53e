"""What a sequence of tasks is judged by: average score over the tasks seen, forgetting, and the score on return."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.anchors import anchor_returns, normalise
from benchmarks.questions.sequence.runs import SequenceRun, SequenceSpec
from benchmarks.questions.sequence.strategies import STRATEGIES
from nb_evaluation.runs.groups import by_method


def scores(spec: SequenceSpec, returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised scores of returns `(..., num_tasks)`."""
    of_tasks = [normalise(returns[..., i], anchor_returns(task)) for i, task in enumerate(spec.tasks)]
    return np.stack(of_tasks, axis=-1)


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


def forward_transfer(run: SequenceRun) -> float:
    """How far above the source's policy new tasks are met, mean over them."""
    out = range(1, len(run.spec.tasks))
    met, before = np.array(run.result.arrivals[: len(run.spec.tasks)]), np.array(run.result.returns[0])
    gained = scores(run.spec, met) - scores(run.spec, before)
    return float(gained[list(out)].mean())


def by_strategy(runs: Sequence[SequenceRun]) -> dict[str, list[SequenceRun]]:
    """Runs grouped by method, in the order of `STRATEGIES`, each group sorted by seed."""
    return by_method(runs, STRATEGIES)
