"""What is left of earlier tasks: five pendulums one after another and back again, and what each method has to store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.anchors import normalise, reference_returns
from benchmarks.arguments import add_seeds, count
from benchmarks.figures import STYLES
from benchmarks.figures.style import Style
from benchmarks.job import Question, add_job_options, publish, run_job
from benchmarks.report import FEWEST_SEEDS, Table, describe_context, describe_seeds, interval, number
from benchmarks.sequence_runs import (
    STRATEGIES,
    SequenceRun,
    SequenceSpec,
    execute_sequence,
    specify_sequence,
)
from benchmarks.spec import FIRST_REPORTING_SEED
from benchmarks.statistics import Estimate, interquartile_mean, iqm, paired_difference

BASELINE = "fine-tune"
KEPT_STYLE = Style("#009E73", "--", "X")
"""Of what is no method of the transfer job and has no style there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    methods = "\n".join(f"  {name:<16}{strategy.summary}" for name, strategy in STRATEGIES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sequence",
        description=f"{__doc__}\n\nmethods:\n{methods}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--methods", nargs="+", choices=STRATEGIES, default=tuple(STRATEGIES), metavar="METHOD",
        help=f"what to compare (default: {' '.join(STRATEGIES)})")  # fmt: skip
    add_seeds(parser, default=10)
    add("--pretrain-episodes", type=count, default=50, metavar="N", help="budget of the first task (default: 50)")
    add("--stage-episodes", type=count, default=50, metavar="N", help="budget of each further stage (default: 50)")
    add_job_options(parser, "sequence")
    return parser


def _specifications(options: argparse.Namespace) -> list[SequenceSpec]:
    """Seed by seed, so that an interrupted job has whole comparisons.

    Raises:
        ValueError: a budget is not accepted.
    """
    specs = [
        specify_sequence(
            method,
            seed=seed,
            pretrain_episodes=options.pretrain_episodes,
            transfer_episodes=options.stage_episodes,
        )
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds)
        for method in dict.fromkeys(options.methods)
    ]
    scores(specs[0], np.zeros(len(specs[0].tasks)))
    return specs


def _line(run: SequenceRun) -> str:
    return f"average over the tasks {number(float(np.mean(run.result.returns[-1]))):>8}"


def _report(runs: Sequence[SequenceRun], folder: Path, command: str, console: Console) -> None:
    publish(tables(runs), figures(runs), caption(runs, command), folder, console)


def caption(runs: Sequence[SequenceRun], command: str) -> str:
    """What the figures are, and what a reader has to know to make them again."""
    spec = runs[0].spec
    commits = sorted({run.commit or "no commit" for run in runs})
    tasks = "; ".join(f"{i}: {describe_context(task)}" for i, task in enumerate(spec.tasks, start=1))
    return (
        f"Tasks {tasks}; visited in this order and back again, {spec.pretrain_episodes} episodes for the first,"
        f" {spec.transfer_episodes} for each further stage. Normalised score of the deterministic policy: 0 is no"
        " torque, 1 the drive cancelled + PD, of each task. Average: over the tasks seen so far, each with what is kept"
        " for it put in place. Forgetting: best score after an earlier stage less the present one, mean over the tasks"
        " seen before the stage's own. On return: as a task comes back, before any of its episodes. Bytes: a"
        f" safetensors file. Interquartile means over {describe_seeds(sorted({run.spec.seed for run in runs}))}, 95 %"
        f" bootstrap intervals. Made by `{command}` at {', '.join(commits)}."
    )


def scores(spec: SequenceSpec, returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised scores of returns `(..., num_tasks)`."""
    references = [_reference_returns(tuple(task.items())) for task in spec.tasks]
    columns = np.moveaxis(np.asarray(returns, dtype=np.float64), -1, 0)
    normalised = [
        [normalise(float(each), reference) for each in column.reshape(-1)]
        for column, reference in zip(columns, references, strict=True)
    ]
    return np.moveaxis(np.array(normalised).reshape(columns.shape), 0, -1)


@cache
def _reference_returns(task: tuple[tuple[str, float], ...]) -> dict[str, float]:
    return reference_returns(dict(task))


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


def tables(runs: Sequence[SequenceRun]) -> list[Table]:
    """Averages after each stage, the measures, and the differences to fine-tuning."""
    groups, stages = by_strategy(runs), runs[0].spec.stages
    out = len(runs[0].spec.tasks) - 1
    measures: dict[str, Callable[[SequenceRun], float]] = {
        "average, way out": lambda run: float(averages(run)[out]),
        "forgetting, way out": lambda run: forgetting(run, out),
        "on return": on_return,
        "average, end": lambda run: float(averages(run)[-1]),
        "forgetting, end": lambda run: forgetting(run, -1 % len(stages)),
    }

    def estimate(group: Sequence[SequenceRun], figure: Callable[[SequenceRun], float]) -> Estimate:
        return iqm([figure(run) for run in group], np.random.default_rng(0))

    measured, stored, followed, compared = [], [], [], []
    baseline = {run.spec.seed: run for run in groups.get(BASELINE, [])}
    for name, group in groups.items():
        cells = [interval(estimate(group, figure), len(group), digits=3) for figure in measures.values()]
        measured.append([f"`{name}`", *cells, str(len(group))])
        kept = np.mean([run.result.bytes_kept for run in group]) / len(group[0].spec.tasks)
        raw = estimate(group, lambda run: float(np.mean(run.result.returns[-1])))
        stored.append([f"`{name}`", f"{group[0].result.numbers_kept:,}", f"{kept:,.0f}", interval(raw, len(group))])
        curve = interquartile_mean(np.array([averages(run) for run in group]), axis=0)
        followed.append([f"`{name}`", *(number(float(each), digits=3) for each in curve)])
        pairs = [(run, baseline[run.spec.seed]) for run in group if run.spec.seed in baseline]
        if name != BASELINE and pairs:
            cells = [
                interval(
                    paired_difference(
                        [figure(run) for run, _ in pairs], [figure(run) for _, run in pairs], np.random.default_rng(0)
                    ),
                    len(pairs),
                    signed=True,
                    digits=3,
                )
                for figure in measures.values()
            ]
            compared.append([f"`{name}`", *cells, str(len(pairs))])
    heads = [f"{name} [95 % CI]" for name in measures]
    parts = [
        Table("Scores along the sequence", ["method", *heads, "seeds"], measured),
        Table(
            "What is stored",
            ["method", "numbers per task", "bytes per task", "mean return over all tasks, end [95 % CI]"],
            stored,
        ),
        Table(
            "Average score over the tasks seen, after each stage",
            ["method", *(f"{i}: task {task + 1}" for i, task in enumerate(stages))],
            followed,
        ),
    ]
    if compared:
        parts.append(Table(f"Differences to `{BASELINE}`, seed by seed", ["method", *heads, "seeds"], compared))
    return parts


def figures(runs: Sequence[SequenceRun]) -> dict[str, Figure]:
    """The average score over the tasks seen, stage by stage; by name: `sequence`."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    stages = runs[0].spec.stages
    for name, group in by_strategy(runs).items():
        colour, line, _ = STYLES.get(name, KEPT_STYLE)
        curves = np.array([averages(run) for run in group])
        axes.plot(interquartile_mean(curves, axis=0), color=colour, linestyle=line, marker="o", label=name)
        if len(group) >= FEWEST_SEEDS:
            band = [iqm(column, np.random.default_rng(0), num_resamples=500) for column in curves.T]
            low, high = ([getattr(each, end) for each in band] for end in ("low", "high"))
            axes.fill_between(range(len(stages)), low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xticks(range(len(stages)), [f"task {task + 1}" for task in stages])
    axes.set_xlabel("stage")
    axes.set_ylabel("normalised score, mean over the tasks seen")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return {"sequence": figure}


QUESTION = Question(
    name="sequence",
    parser=_parser(),
    specifications=_specifications,
    line=_line,
    report=_report,
    experiment=execute_sequence,
    run=SequenceRun,
)

if __name__ == "__main__":
    sys.exit(main())
