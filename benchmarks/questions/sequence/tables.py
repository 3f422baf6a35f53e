"""What the report shows of a sequence job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.questions.sequence.meeting import KEPT_ROWS, RECENT
from benchmarks.questions.sequence.runs import SequenceRun
from benchmarks.questions.sequence.scores import averages, by_strategy, forgetting, forward_transfer, on_return
from benchmarks.report import wording
from benchmarks.report.wording import describe_context, meta_tasks
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, against
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.runs.groups import difference, paired
from nb_evaluation.stats.estimates import interquartile_mean, iqm

BASELINE, SEARCHED = "fine-tune", "signed-k-search"
"""The methods that the others are compared with, seed by seed; the second by what could take its credit."""

Measures = dict[str, Callable[[SequenceRun], float]]

SCORES_NOTE = (
    "Normalised score of the deterministic policy, of each task: 0 is no torque, 1 the drive cancelled + PD. Average:"
    " mean over the tasks seen so far, each with what is kept for it put in place, or with the policy that the last"
    " stage left where nothing is kept. Forgetting: best score after an earlier stage less the present one, mean over"
    " the tasks seen before the stage's own. Forward transfer: as a new task comes, before any of its episodes, above"
    " the source's policy; 0 where a new task starts at the source. On return: as a task comes back, before any of its"
    " episodes; of `maml` its initialisation. Way out: after the last new task; end: after the last stage."
)
STORED_NOTE = (
    "Numbers: those that are put back when a task returns. Bytes: of a safetensors file with what is kept for all"
    " tasks, divided by their number. The network that k-sets are put into is stored once, and is not counted."
)
CHOSEN_NOTE = (
    "It is told that a task is new and, after a stage, under which name its k-set is kept; not which task comes back:"
    f" the k-set of the last one acts for {RECENT} decisions, an episode, and the battery chooses by which k-set's"
    " dynamics explain them best, among those of all tasks seen. A task's dynamics are fitted to"
    f" {KEPT_ROWS} episodes with its k-set; neither these nor the steps of the choice count in the budget."
)


def tables(runs: Sequence[SequenceRun]) -> list[Table]:
    """Measures of the whole sequence, what is stored, averages stage by stage, and the differences to fine-tuning."""
    measures = _measures(runs[0])
    parts = [_measured(runs, measures), _stored(runs), _chosen(runs), _followed(runs)]
    parts += [_compared(runs, measures, baseline) for baseline in (BASELINE, SEARCHED)]
    return [table for table in parts if table.rows]


def _measures(run: SequenceRun) -> Measures:
    out, end = len(run.spec.tasks) - 1, len(run.spec.stages) - 1
    return {
        "average, way out": lambda run: float(averages(run)[out]),
        "forgetting, way out": lambda run: forgetting(run, out),
        "forward transfer": forward_transfer,
        "on return": on_return,
        "average, end": lambda run: float(averages(run)[end]),
        "forgetting, end": lambda run: forgetting(run, end),
    }


def answer(runs: Sequence[SequenceRun]) -> Verdict | None:
    """Which methods end above or below `BASELINE`, on average over the tasks; None where too few seeds are shared."""
    gains = {
        name: difference(pairs, lambda run: float(averages(run)[-1]))
        for name, pairs in paired(by_strategy(runs), BASELINE).items()
        if len(pairs) >= FEWEST_SEEDS
    }
    what = f"Average normalised score over {len(runs[0].spec.tasks)} tasks, at the end of the sequence"
    return against(what, gains, BASELINE)


def _measured(runs: Sequence[SequenceRun], measures: Measures) -> Table:
    rows = []
    for name, group in by_strategy(runs).items():
        estimates = [iqm(list(map(figure, group)), np.random.default_rng(0)) for figure in measures.values()]
        rows.append([f"`{name}`", *(interval(each, len(group), digits=3) for each in estimates), str(len(group))])
    note = f"{SCORES_NOTE} {meta_tasks(runs)}".strip()
    return Table("Scores along the sequence", ["method", *_heads(measures), "seeds"], rows, note)


def _stored(runs: Sequence[SequenceRun]) -> Table:
    rows = []
    for name, group in by_strategy(runs).items():
        kept = np.mean([run.result.bytes_kept for run in group]) / len(group[0].spec.tasks)
        raw = iqm([float(np.mean(run.result.returns[-1])) for run in group], np.random.default_rng(0))
        rows.append([f"`{name}`", f"{group[0].result.numbers_kept:,}", f"{kept:,.0f}", interval(raw, len(group))])
    columns = ["method", "numbers per task", "bytes per task", "mean return over all tasks, end [95 % CI]"]
    return Table("What is stored", columns, rows, STORED_NOTE)


def _chosen(runs: Sequence[SequenceRun]) -> Table:
    """Which k-sets a battery chose as tasks came back."""
    rows, stages = [], runs[0].spec.stages
    back = range(len(runs[0].spec.tasks), len(stages))
    for name, group in by_strategy(runs).items():
        chosen = [run.result.chosen for run in group if run.result.chosen is not None]
        if chosen:
            found = [sum(each[stage] == stages[stage] for each in chosen) for stage in back]
            rows.append([f"`{name}`", *(f"{right} of {len(chosen)}" for right in found)])
    heads = [f"{stage}: task {stages[stage] + 1}" for stage in back]
    return Table("The right k-set chosen as a task came back", ["method", *heads], rows, CHOSEN_NOTE)


def _followed(runs: Sequence[SequenceRun]) -> Table:
    rows = []
    for name, group in by_strategy(runs).items():
        curve = interquartile_mean(np.array(list(map(averages, group))), axis=0)
        rows.append([f"`{name}`", *(number(float(each), digits=3) for each in curve)])
    heads = [f"{i}: task {task + 1}" for i, task in enumerate(runs[0].spec.stages)]
    return Table("Average score over the tasks seen, after each stage", ["method", *heads], rows)


def _compared(runs: Sequence[SequenceRun], measures: Measures, baseline: str) -> Table:
    rows, groups = [], by_strategy(runs)
    for name, pairs in (paired(groups, baseline) if baseline in groups else {}).items():
        estimates = [difference(pairs, figure) for figure in measures.values()]
        cells = [interval(each, len(pairs), signed=True, digits=3) for each in estimates]
        rows.append([f"`{name}`", *cells, str(len(pairs))])
    title = f"Differences to `{baseline}`, seed by seed"
    return Table(title, ["method", *_heads(measures), "seeds"], rows, "Less forgetting is a negative difference.")


def _heads(measures: Measures) -> list[str]:
    return [f"{name} [95 % CI]" for name in measures]


def caption(runs: Sequence[SequenceRun], command: str) -> str:
    """Seeds, budget, tasks and command."""
    spec = runs[0].spec
    tasks = "; ".join(f"task {i}: {describe_context(task)}" for i, task in enumerate(spec.tasks, start=1))
    further = len(spec.stages) - 1
    return wording.caption(
        runs,
        command,
        budget=f"{spec.pretrain_episodes} + {further} × {spec.transfer_episodes} episodes of 1,000 physics steps",
        route=f"{tasks}; in this order and back again",
    )
