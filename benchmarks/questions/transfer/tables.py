"""The tables of the transfer job, made from finished runs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.methods import METHODS, by_method
from benchmarks.protocol.anchors import PUBLISHED, PUBLISHED_TARGET, anchor_returns, normalise
from benchmarks.protocol.run import Run
from benchmarks.protocol.summary import THRESHOLDS, Summary
from benchmarks.questions.transfer.generalization import generalization_table
from benchmarks.questions.transfer.published import claim, published_table
from benchmarks.report.wording import conditions, describe_context
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, against, without_gates
from nb_evaluation.report.wording import FEWEST_SEEDS, describe_seeds, interval, number
from nb_evaluation.runs.groups import difference, paired
from nb_evaluation.stats.estimates import (
    Estimate,
    interquartile_mean,
    iqm,
    paired_difference,
    probability_of_improvement,
    rank_biserial,
)
from nb_evaluation.stats.learning_curves import iqm_of_steps

EPISODES_TO = tuple(f"episodes to {number(threshold, digits=0)}" for threshold in THRESHOLDS)

RETURNS = (
    "method",
    "zero-shot",
    "final [95 % CI]",
    "last evaluation [95 % CI]",
    "best training episode [95 % CI]",
    "last 10 training episodes",
    "final, normalised",
    "seeds",
)
SPEED = ("method", "area under the curve [95 % CI]", *EPISODES_TO)
REST = (
    "method",
    "source task before",
    "source task afterwards [95 % CI]",
    "forgetting [95 % CI]",
    "old k's put back",
    "numbers adapted",
    "environment steps",
    "wall time per run",
    "CPU time per run",
)
ALL_COLUMNS = (*RETURNS, *SPEED[1:], *REST[1:])
MAIN_COLUMNS = ("method", "final [95 % CI]", "best training episode [95 % CI]", "numbers adapted")
"""What fits on a screen."""

BASELINE = "fine-tune"
"""The method that the others are compared with, seed by seed."""


def tables(runs: Sequence[Run]) -> list[Table]:
    """All tables that the report shows of a transfer job."""
    whole = results_table(runs)
    measured = replace(whole, rows=[row for row in whole.rows if not row[0].startswith("*published")])
    target = describe_context(runs[0].spec.target)
    returns_note = (
        "Deterministic policy over fixed starts, except the training episodes, which explore (the best of them is the"
        " paper's metric). Final: mean of the last 10 evaluations of the transfer. Normalised: 0 is no torque, 1 is the"
        f" drive cancelled + PD. {conditions(runs)} {missing(runs)}"
    )
    speed_note = (
        "Area under the curve of the deterministic return over the transfer, divided by its length. Episodes of the"
        " transfer until a return is reached and held to the end; ∞ where more than a quarter of the runs do not."
    )
    rest_note = (
        "Forgetting: return on the source task before the transfer less that afterwards; negative where the transfer"
        " has improved it. Numbers adapted: those of the deployed policy that the transfer may change."
    )
    parts = [
        whole.select(RETURNS, note=returns_note.strip()),
        whole.select(SPEED, title=f"How fast the transfer to {target} goes", note=speed_note),
        measured.select(REST, title="What becomes of the source task, and what it costs", note=rest_note),
    ]
    others = comparison_table(runs), gains_table(runs), published_table(runs), generalization_table(runs)
    return [*parts, *(table for table in others if table and table.rows)]


def answer(runs: Sequence[Run]) -> Verdict | None:
    """The paper's claim and what became of it; without runs that bear on it, the gates against `BASELINE`."""
    what = f"Final return at {describe_context(runs[0].spec.target)}"
    finals = {
        name: float(interquartile_mean([run.summary.last_evaluations for run in group]))
        for name, group in by_method(runs).items()
    }
    return claim(runs) or against(what, gains(runs), BASELINE) or without_gates(what, finals)


def results_table(runs: Sequence[Run]) -> Table:
    """One row for each method, reference controller and published number.

    Returns are of 1,000 physics steps; interquartile means over the seeds, in brackets their 95 % intervals.
    """
    spec = runs[0].spec
    references = anchor_returns(spec.target)
    source_references = anchor_returns(spec.middle)
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
    cells = [[row.get(column, "") for column in ALL_COLUMNS] for row in rows]
    return Table(f"Return at {describe_context(spec.target)}", ALL_COLUMNS, cells)


def _method_row(name: str, runs: Sequence[Run], references: dict[str, float]) -> dict[str, str]:
    summaries, seeds = [run.summary for run in runs], len(runs)

    def estimate(figure: Callable[[Summary], float | None]) -> Estimate:
        """Over the runs that have such a figure."""
        scores = [score for score in map(figure, summaries) if score is not None]
        return iqm(scores, np.random.default_rng(0)) if scores else Estimate(math.nan, math.nan, math.nan)

    final = estimate(lambda each: each.last_evaluations)
    forgotten = estimate(lambda each: each.source_before - each.source_after)
    pretrains = METHODS[name].pretrains
    return {
        "method": f"`{name}`",
        "zero-shot": number(estimate(lambda each: each.zero_shot).point),
        "final [95 % CI]": interval(final, seeds),
        "last evaluation [95 % CI]": interval(estimate(lambda each: each.final), seeds),
        "best training episode [95 % CI]": interval(estimate(lambda each: each.best_episode), seeds),
        "last 10 training episodes": number(estimate(lambda each: each.last_episodes).point),
        "final, normalised": number(normalise(final.point, references), digits=3),
        "area under the curve [95 % CI]": interval(estimate(lambda each: each.area), seeds),
        **{column: _episodes(summaries, i) for i, column in enumerate(EPISODES_TO)},
        "source task before": number(estimate(lambda each: each.source_before).point) if pretrains else "",
        "source task afterwards [95 % CI]": interval(estimate(lambda each: each.source_after), seeds),
        "forgetting [95 % CI]": interval(forgotten, seeds, signed=True) if pretrains else "",
        "old k's put back": _restored(runs),
        "numbers adapted": f"{runs[0].result.numbers_adapted:,}",
        "environment steps": f"{runs[0].summary.steps:,}",
        "seeds": str(seeds),
        "wall time per run": f"{np.median([run.wall_seconds for run in runs]):.0f} s",
        "CPU time per run": f"{np.median([run.cpu_seconds for run in runs]):.0f} s",
    }


def _episodes(summaries: Sequence[Summary], i: int) -> str:
    """Episodes to the threshold number `i`, where runs that never hold it count as infinite."""
    spent = [each.episodes_to[i] for each in summaries]
    times = [math.inf if episodes is None else episodes for episodes in spent]
    return interval(iqm_of_steps(times, np.random.default_rng(0)), len(times), digits=0)


def _restored(runs: Sequence[Run]) -> str:
    """Whether the source task's return is what it was once the old k's are back."""
    if any(run.result.source_restored is None for run in runs):
        return ""
    same = sum(run.result.source_restored == run.summary.source_before for run in runs)
    return f"identical in {same} of {len(runs)}"


def missing(runs: Sequence[Run]) -> str:
    """Which methods have no runs, and which seeds some lack that others have; empty if all is there."""
    groups = by_method(runs)
    algo = runs[0].spec.algo
    absent = [f"`{name}`" for name, method in METHODS.items() if algo in method.algos and name not in groups]
    sentences = [f"Not run: {', '.join(absent)}."] if absent else []
    seeds = {run.spec.seed for run in runs}
    for name, group in groups.items():
        lacking = sorted(seeds - {run.spec.seed for run in group})
        if lacking:
            sentences.append(f"`{name}` lacks {describe_seeds(lacking)}.")
    return " ".join(sentences)


def comparison_table(runs: Sequence[Run]) -> Table | None:
    """Each method against `BASELINE` on the seeds that both have run; None where there is nothing to compare."""
    rows = []
    for name, pairs in paired(by_method(runs), BASELINE).items():
        x, y = ([run.summary.last_evaluations for run in side] for side in zip(*pairs, strict=True))
        differences = difference(pairs, _final), difference(pairs, lambda run: run.summary.area)
        better = probability_of_improvement(x, y, np.random.default_rng(0))
        effect = rank_biserial(x, y, np.random.default_rng(0))
        cells = [interval(each, len(x), signed=True) for each in differences]
        cells += [interval(better, len(x), digits=2), interval(effect, len(x), signed=True, digits=2)]
        rows.append([f"`{name}`", *cells, str(len(x))])
    columns = [
        "method",
        "difference of the final return [95 % CI]",
        "difference of the area under the curve [95 % CI]",
        "probability of a better final return [95 % CI]",
        "rank-biserial effect size [95 % CI]",
        "seeds",
    ]
    note = (
        "The effect size is the share of the ranks of the paired differences that speaks for the method less the share"
        f" that speaks for `{BASELINE}`, from −1 to 1."
    )
    return Table(f"Against `{BASELINE}`, seed by seed", columns, rows, note) if rows else None


def gains(runs: Sequence[Run]) -> dict[str, Estimate]:
    """How far the final return of each method is above `BASELINE`'s, where at least `FEWEST_SEEDS` seeds have both."""
    pairs = paired(by_method(runs), BASELINE)
    return {name: difference(each, _final) for name, each in pairs.items() if len(each) >= FEWEST_SEEDS}


def _final(run: Run) -> float:
    return run.summary.last_evaluations


def gains_table(runs: Sequence[Run]) -> Table:
    """What the transfer changed, within each run: on the target over zero-shot, and on the source task."""
    rows = []
    for name, group in by_method(runs).items():
        if not METHODS[name].pretrains:
            continue
        summaries = [run.summary for run in group]
        pairs = (
            ([each.last_evaluations for each in summaries], [each.zero_shot for each in summaries]),
            ([each.source_after for each in summaries], [each.source_before for each in summaries]),
        )
        changes = [paired_difference(x, y, np.random.default_rng(0)) for x, y in pairs]
        rows.append([f"`{name}`", *(interval(each, len(group), signed=True) for each in changes), str(len(group))])
    columns = ["method", "final over zero-shot [95 % CI]", "source task, after over before [95 % CI]", "seeds"]
    return Table("What the transfer changed, run by run", columns, rows)
