"""Tables, made from finished runs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.anchors import PUBLISHED, PUBLISHED_TARGET, normalise, reference_returns
from benchmarks.methods import METHODS
from benchmarks.records import Run
from benchmarks.spec import Context, RunSpec
from benchmarks.statistics import Estimate, iqm, paired_difference, probability_of_improvement

COLUMNS = (
    "method",
    "zero-shot",
    "final [95 % CI]",
    "best training episode [95 % CI]",
    "last 10 training episodes",
    "final, normalised",
    "source task before",
    "source task afterwards [95 % CI]",
    "old k's put back",
    "numbers adapted",
    "environment steps",
    "wall time per run",
)
MAIN_COLUMNS = ("method", "final [95 % CI]", "best training episode [95 % CI]", "numbers adapted")
"""What fits on a screen."""

BASELINE = "fine-tune"
"""The method that the others are compared with, seed by seed."""


@dataclass(frozen=True)
class Table:
    """Cells as text, as many in each row as there are columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def select(self, columns: Sequence[str]) -> Table:
        """The same table with fewer columns."""
        kept = [self.columns.index(column) for column in columns]
        return Table(self.title, columns, [[row[i] for i in kept] for row in self.rows])

    def markdown(self) -> str:
        """The table in GitHub's Markdown, numbers to the right."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows)) + "\n"


def by_method(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs grouped by method, in the order of `METHODS`, each group sorted by seed."""
    groups: dict[str, list[Run]] = {name: [] for name in METHODS}
    for run in runs:
        groups[run.spec.method].append(run)
    return {name: sorted(group, key=lambda run: run.spec.seed) for name, group in groups.items() if group}


def results_table(runs: Sequence[Run]) -> Table:
    """One row for each method, reference controller and published number.

    Returns are of 1,000 physics steps; interquartile means over the seeds, in brackets their 95 % intervals.
    """
    spec = runs[0].spec
    references = reference_returns(spec.target)
    source_references = reference_returns(spec.source)
    rows = [_method_row(name, group, references) for name, group in by_method(runs).items()]
    rows += [
        [
            f"*{name}*",
            "",
            number(score),
            "",
            "",
            f"{normalise(score, references):.3f}",
            "",
            number(source),
            "",
            "0",
            "0",
            "",
        ]
        for (name, score), source in zip(references.items(), source_references.values(), strict=True)
    ]
    if spec.target == PUBLISHED_TARGET:
        rows += [
            [f"*published: {name}*", "", "", number(row.best), number(row.last), "", "", "", "", "", "150,000", ""]
            for name, row in PUBLISHED.items()
        ]
    return Table(f"Return at {describe_context(spec.target)}", COLUMNS, rows)


def _method_row(name: str, runs: Sequence[Run], references: dict[str, float]) -> list[str]:
    def estimate(figure: Callable[[Run], float]) -> Estimate:
        return iqm([figure(run) for run in runs], np.random.default_rng(0))

    final = estimate(lambda run: run.summary.final)
    return [
        f"`{name}`",
        number(estimate(lambda run: run.summary.zero_shot).point),
        interval(final),
        interval(estimate(lambda run: run.summary.best_episode)),
        number(estimate(lambda run: run.summary.last_episodes).point),
        f"{normalise(final.point, references):.3f}",
        number(estimate(lambda run: run.summary.source_before).point) if METHODS[name].pretrains else "",
        interval(estimate(lambda run: run.summary.source_after)),
        _restored(runs),
        f"{runs[0].result.numbers_adapted:,}",
        f"{runs[0].summary.steps:,}",
        f"{np.median([run.wall_seconds for run in runs]):.0f} s",
    ]


def _restored(runs: Sequence[Run]) -> str:
    """Whether the source task's return is what it was once the old k's are back."""
    if any(run.result.source_restored is None for run in runs):
        return ""
    same = sum(run.result.source_restored == run.summary.source_before for run in runs)
    return f"identical in {same} of {len(runs)}"


def comparison_table(runs: Sequence[Run]) -> Table | None:
    """Each method against `BASELINE` on the seeds that both have run; None where there is nothing to compare."""
    groups = by_method(runs)
    baseline = {run.spec.seed: run.summary.final for run in groups.pop(BASELINE, [])}
    rows = []
    for name, group in groups.items():
        scores = {run.spec.seed: run.summary.final for run in group if run.spec.seed in baseline}
        if not scores:
            continue
        x, y = list(scores.values()), [baseline[seed] for seed in scores]
        difference = paired_difference(x, y, np.random.default_rng(0))
        better = probability_of_improvement(x, y, np.random.default_rng(0))
        rows.append([f"`{name}`", interval(difference, signed=True), interval(better, digits=2), str(len(scores))])
    columns = ["method", "difference of the final return [95 % CI]", "probability of being better [95 % CI]", "seeds"]
    return Table(f"Against `{BASELINE}`, seed by seed", columns, rows) if rows else None


def gains_table(runs: Sequence[Run]) -> Table:
    """What the transfer changed, within each run: on the target over zero-shot, and on the source task."""
    rows = []
    for name, group in by_method(runs).items():
        if not METHODS[name].pretrains:
            continue
        summaries = [run.summary for run in group]
        pairs = (
            ([each.final for each in summaries], [each.zero_shot for each in summaries]),
            ([each.source_after for each in summaries], [each.source_before for each in summaries]),
        )
        changes = [interval(paired_difference(x, y, np.random.default_rng(0)), signed=True) for x, y in pairs]
        rows.append([f"`{name}`", *changes, str(len(group))])
    columns = ["method", "final over zero-shot [95 % CI]", "source task, after over before [95 % CI]", "seeds"]
    return Table("What the transfer changed, run by run", columns, rows)


def caption(runs: Sequence[Run], command: str) -> str:
    """What a reader has to know to make the tables and figures again: seeds, budget, command, code."""
    spec = runs[0].spec
    seeds = sorted({run.spec.seed for run in runs})
    commits = sorted({run.commit or "no commit" for run in runs})
    return (
        f"Interquartile means and 95 % bootstrap intervals over {describe_seeds(seeds)}; {spec.algo.upper()};"
        f" {describe_budget(spec)}; {describe_context(spec.source)} → {describe_context(spec.target)}."
        f" Made by `{command}` at {', '.join(commits)}."
    )


def markdown_page(runs: Sequence[Run], command: str) -> str:
    """The contents of `table.md`."""
    parts = [
        results_table(runs).markdown(),
        "Deterministic policy over fixed starts, except the training episodes, which explore (the best of them is the"
        " paper's metric). Normalised: 0 is no torque, 1 is the drive cancelled + PD. Numbers adapted: those of the"
        " deployed policy that the transfer may change.\n",
    ]
    for table in (comparison_table(runs), gains_table(runs)):
        if table is not None and table.rows:
            parts += [f"{table.title}:\n", table.markdown()]
    return "\n".join([*parts, caption(runs, command) + "\n"])


def number(value: float, *, signed: bool = False, digits: int = 1) -> str:
    """A number as text, with a true minus and no decimals from a thousand on; empty for NaN."""
    if math.isnan(value):
        return ""
    digits = 0 if abs(value) >= 1000 else digits
    return f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "−")


def interval(estimate: Estimate, *, signed: bool = False, digits: int = 1) -> str:
    """An estimate as text, "point [low, high]"; the point alone where there is no interval."""
    point = number(estimate.point, signed=signed, digits=digits)
    if math.isnan(estimate.low):
        return point
    low, high = (number(end, signed=signed, digits=digits) for end in (estimate.low, estimate.high))
    return f"{point} [{low}, {high}]"


def describe_context(context: Context) -> str:
    """`A = 1.8, torque_gain = −1`."""
    return ", ".join(f"{name} = {value:g}".replace("-", "−") for name, value in context.items()) or "the defaults"


def describe_seeds(seeds: Sequence[int]) -> str:
    """`5 seeds (100 to 104)`."""
    if len(seeds) == 1:
        return f"1 seed ({seeds[0]})"
    return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"


def describe_budget(spec: RunSpec) -> str:
    """`50 + 100 episodes of 1,000 physics steps`."""
    return f"{spec.pretrain_episodes} + {spec.transfer_episodes} episodes of 1,000 physics steps"
