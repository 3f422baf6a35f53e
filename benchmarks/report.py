"""Tables, made from finished runs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.anchors import PUBLISHED, PUBLISHED_TARGET, normalise, reference_returns
from benchmarks.methods import METHODS
from benchmarks.records import Run
from benchmarks.spec import RunSpec, Source
from benchmarks.statistics import Estimate, iqm, paired_difference, probability_of_improvement

COLUMNS = (
    "method",
    "zero-shot",
    "final [95 % CI]",
    "best training episode [95 % CI]",
    "last 10 evaluations",
    "last 10 training episodes",
    "final, normalised",
    "source task before",
    "source task afterwards [95 % CI]",
    "old k's put back",
    "numbers adapted",
    "environment steps",
    "seeds",
    "wall time per run",
)
MAIN_COLUMNS = ("method", "final [95 % CI]", "best training episode [95 % CI]", "numbers adapted")
"""What fits on a screen."""

FEWEST_SEEDS = 5
"""With fewer no interval is shown: a bootstrap interval cannot be wider than the scores are apart."""

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
    source_references = reference_returns(spec.middle)
    rows = [_method_row(name, group, references) for name, group in by_method(runs).items()]
    rows += [
        {
            "method": f"*{name}*",
            "final [95 % CI]": number(score),
            "final, normalised": number(normalise(score, references), digits=3),
            "source task afterwards [95 % CI]": number(source_references[name]),
            "numbers adapted": "0",
            "environment steps": "0",
        }
        for name, score in references.items()
    ]
    if spec.target == PUBLISHED_TARGET:
        rows += [
            {
                "method": f"*published: {name}*",
                "best training episode [95 % CI]": number(row.best),
                "last 10 training episodes": number(row.last),
                "environment steps": "150,000",
            }
            for name, row in PUBLISHED.items()
        ]
    cells = [[row.get(column, "") for column in COLUMNS] for row in rows]
    return Table(f"Return at {describe_context(spec.target)}", COLUMNS, cells)


def _method_row(name: str, runs: Sequence[Run], references: dict[str, float]) -> dict[str, str]:
    def estimate(figure: Callable[[Run], float]) -> Estimate:
        return iqm([figure(run) for run in runs], np.random.default_rng(0))

    def of_episodes(figure: Callable[[Run], float | None]) -> Estimate:
        scores = [score for score in map(figure, runs) if score is not None]
        return iqm(scores, np.random.default_rng(0)) if scores else Estimate(math.nan, math.nan, math.nan)

    final = estimate(lambda run: run.summary.final)
    source_before = estimate(lambda run: run.summary.source_before)
    return {
        "method": f"`{name}`",
        "zero-shot": number(estimate(lambda run: run.summary.zero_shot).point),
        "final [95 % CI]": interval(final, len(runs)),
        "best training episode [95 % CI]": interval(of_episodes(lambda run: run.summary.best_episode), len(runs)),
        "last 10 evaluations": number(estimate(lambda run: run.summary.last_evaluations).point),
        "last 10 training episodes": number(of_episodes(lambda run: run.summary.last_episodes).point),
        "final, normalised": number(normalise(final.point, references), digits=3),
        "source task before": number(source_before.point) if METHODS[name].pretrains else "",
        "source task afterwards [95 % CI]": interval(estimate(lambda run: run.summary.source_after), len(runs)),
        "old k's put back": _restored(runs),
        "numbers adapted": f"{runs[0].result.numbers_adapted:,}",
        "environment steps": f"{runs[0].summary.steps:,}",
        "seeds": str(len(runs)),
        "wall time per run": f"{np.median([run.wall_seconds for run in runs]):.0f} s",
    }


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
        cells = interval(difference, len(x), signed=True), interval(better, len(x), digits=2)
        rows.append([f"`{name}`", *cells, str(len(x))])
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
        differences = [paired_difference(x, y, np.random.default_rng(0)) for x, y in pairs]
        changes = [interval(difference, len(group), signed=True) for difference in differences]
        rows.append([f"`{name}`", *changes, str(len(group))])
    columns = ["method", "final over zero-shot [95 % CI]", "source task, after over before [95 % CI]", "seeds"]
    return Table("What the transfer changed, run by run", columns, rows)


def caption(runs: Sequence[Run], command: str) -> str:
    """What a reader has to know to make the tables and figures again: seeds, budget, command, code."""
    spec = runs[0].spec
    seeds = sorted({run.spec.seed for run in runs})
    commits = sorted({run.commit or "no commit" for run in runs})
    intervals = " and 95 % bootstrap intervals" if len(seeds) >= FEWEST_SEEDS else ""
    return (
        f"Interquartile means{intervals} over {describe_seeds(seeds)}; {spec.algo.upper()};"
        f" {describe_budget(spec)}; {describe_context(spec.source)} → {describe_context(spec.target)}."
        f" Made by `{command}` at {', '.join(commits)}."
    )


def conditions(runs: Sequence[Run]) -> str:
    """Who sees and trains what: the methods share a task that the reference controllers do not have."""
    settings = runs[0].spec.settings
    sentences = [
        f"Policies observe {', '.join(settings.observe)} and decide once per {settings.frame_skip} physics steps;"
        " reference controllers decide at every step, and PD and bang-bang see only θ and θ̇."
    ]
    if any(METHODS[run.spec.method].adapts == "gates" for run in runs):
        sentences.append(
            "With `-k` the critic and the spread of the exploration train as well; no deployed policy contains them."
        )
    return " ".join(sentences)


def markdown_page(runs: Sequence[Run], command: str) -> str:
    """The contents of `table.md`."""
    parts = [
        results_table(runs).markdown(),
        "Deterministic policy over fixed starts, except the training episodes, which explore (the best of them is the"
        " paper's metric). Normalised: 0 is no torque, 1 is the drive cancelled + PD. Numbers adapted: those of the"
        f" deployed policy that the transfer may change. {conditions(runs)}\n",
        f"The intervals are percentile bootstrap intervals, which cover less than the nominal 95 % at few seeds"
        f" (of normal scores 90 % at 5 seeds, 94 % at 10); with fewer than {FEWEST_SEEDS} none is shown.\n",
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


def interval(estimate: Estimate, num_seeds: int, *, signed: bool = False, digits: int = 1) -> str:
    """An estimate as text, "point [low, high]"; the point alone with less than `FEWEST_SEEDS`."""
    point = number(estimate.point, signed=signed, digits=digits)
    if math.isnan(estimate.point):
        return point
    if num_seeds < FEWEST_SEEDS:
        return point
    low, high = (number(end, signed=signed, digits=digits) for end in (estimate.low, estimate.high))
    return f"{point} [{low}, {high}]"


def describe_context(context: Source) -> str:
    """`A = 1.8, torque_gain = −1`, or `A ~ U[1, 1.5]`."""
    parts = [
        f"{name} ~ U[{value[0]:g}, {value[1]:g}]" if isinstance(value, tuple) else f"{name} = {value:g}"
        for name, value in context.items()
    ]
    return ", ".join(parts).replace("-", "−") or "the defaults"


def describe_seeds(seeds: Sequence[int]) -> str:
    """`5 seeds (100 to 104)`."""
    if len(seeds) == 1:
        return f"1 seed ({seeds[0]})"
    return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"


def describe_budget(spec: RunSpec) -> str:
    """`50 + 100 episodes of 1,000 physics steps`."""
    return f"{spec.pretrain_episodes} + {spec.transfer_episodes} episodes of 1,000 physics steps"
