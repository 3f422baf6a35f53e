"""What the runs of a comparison say: a sentence of advice, and the tables behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nb_agents.comparison.methods import ADAPTING, METHODS
from nb_agents.comparison.specification import Row
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Tone, Verdict
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.stats.estimates import Estimate, interquartile_mean, iqm, paired_difference

RIVAL = "fine-tune"

BYTES = 4
"""Bytes of a number in single precision."""

NOTE = (
    "Returns of the deterministic policy, interquartile mean over the seeds [95 % CI]; worst seed. Before is the policy"
    " as it comes to the target, and in the end is after the last step there. All that begin at the source share it by"
    " seed. `student` and `conditioned` take no step in the target. Numbers and bytes are those of the actor that a"
    " task needs of its own."
)

Rows = dict[str, dict[int, Row]]
"""By method and seed."""


def by_row(runs: Sequence[Any]) -> Rows:
    """The rows of all runs, in the order of the methods."""
    found: Rows = {name: {} for name in METHODS}
    for run in sorted(runs, key=lambda run: run.spec.seed):
        for name, row in run.result.rows.items():
            found[name][run.spec.seed] = row
    return {name: rows for name, rows in found.items() if rows}


def tables(runs: Sequence[Any]) -> list[Table]:
    """All tables."""
    rows = by_row(runs)
    return [table for table in (_returns(rows), _differences(rows), _kept(rows)) if table.rows]


def task(spec: Any) -> str:
    """Source and target in words."""
    source, target = (
        " ".join(f"{name}={value}" for name, value in each.items()) or "as it is" for each in (spec.source, spec.target)
    )
    return f"{spec.env} from {source} to {target}, {spec.algo}"


def answer(runs: Sequence[Any]) -> Verdict | None:
    """What to adapt: of what begins at the source the best, or the smallest that cannot be told from it."""
    rows = {name: each for name, each in by_row(runs).items() if name in ADAPTING}
    if len(rows) < 2:
        return None
    steps = runs[0].spec.steps
    scores = {name: float(interquartile_mean(_final(each))) for name, each in rows.items()}
    best = max(scores, key=lambda name: scores[name])
    gaps = {name: _gap(rows, best, name) for name in rows if name != best}
    if min((seeds for _, seeds in gaps.values()), default=0) < FEWEST_SEEDS:
        ends = "; ".join(f"`{name}` {number(score)}" for name, score in scores.items())
        text = (
            f"After {steps:,} steps `{best}` is ahead, but with fewer than {FEWEST_SEEDS} seeds methods cannot be told"
            " apart."
        )
        return Verdict(text, "open", f"{task(runs[0].spec)}: {ends}.")
    alike = [name for name, (gap, _) in gaps.items() if not gap.low > 0.0]
    sizes = {name: next(iter(rows[name].values())).numbers for name in (best, *alike)}
    chosen = min(sizes, key=lambda name: sizes[name])
    if chosen == best:
        next_best = max(gaps, key=lambda name: scores[name])
        why = f"{interval(*gaps[next_best], signed=True)} over `{next_best}` after {steps:,} steps"
    else:
        why = f"its {sizes[chosen]:,} numbers cannot be told from `{best}`, which ends highest, after {steps:,} steps"
    more = "; ".join(f"{interval(*gap, signed=True)} over `{name}`" for name, gap in gaps.items())
    tone: Tone = "better" if METHODS[chosen].gates else "worse"
    text = f"Adapt `{chosen}`: {why}."
    return Verdict(text, tone, f"{task(runs[0].spec)}: `{best}` is {more}.", word="advice")


def _final(rows: dict[int, Row]) -> NDArray[np.float64]:
    return np.array([row.returns[-1] for row in rows.values()])


def _gap(rows: Rows, one: str, other: str) -> tuple[Estimate, int]:
    """How far a method ends above another, seed by seed, and in how many."""
    seeds = [seed for seed in rows[one] if seed in rows[other]]
    if not seeds:
        return Estimate(math.nan, math.nan, math.nan), 0
    x, y = (_final({seed: rows[name][seed] for seed in seeds}) for name in (one, other))
    return paired_difference(x, y, np.random.default_rng(0)), len(seeds)


def _cell(scores: NDArray[np.float64]) -> str:
    if not scores.size:
        return ""
    return f"{interval(iqm(scores, np.random.default_rng(0)), len(scores))}; {number(float(scores.min()))}"


def _returns(rows: Rows) -> Table:
    made = []
    for name, each in rows.items():
        before = np.array([row.returns[0] for row in each.values() if len(row.steps) > 1])
        numbers = next(iter(each.values())).numbers
        cells = [_cell(before), _cell(_final(each)), f"{numbers:,}", f"{BYTES * numbers:,}", str(len(each))]
        made.append([f"`{name}`", *cells])
    heads = ["method", "before", "in the end", "numbers", "bytes", "seeds"]
    return Table("Returns on the target", heads, made, NOTE)


def _differences(rows: Rows) -> Table:
    made = []
    for name in rows:
        if RIVAL in rows and name != RIVAL:
            gap, seeds = _gap(rows, name, RIVAL)
            made.append([f"`{name}`", interval(gap, seeds, signed=True), str(seeds)])
    note = "Interquartile means of the paired differences in the end [95 % CI]; the same seed has the same source."
    return Table(f"Above `{RIVAL}`", ["method", "difference", "seeds"], made, note)


def _kept(rows: Rows) -> Table:
    made = []
    for name, each in rows.items():
        before = np.array([row.source_before for row in each.values() if row.source_before is not None])
        back = [row for row in each.values() if row.source_back is not None]
        equal = f"equal in {sum(row.source_back == row.source_before for row in back)} of {len(back)}" if back else ""
        after = np.array([row.source_after for row in each.values()])
        made.append([f"`{name}`", _cell(before), _cell(after), equal])
    note = (
        "Returns on the source; with the source's k's put back, a policy whose k's alone have trained is the source's."
    )
    return Table("What is kept of the source", ["method", "before", "after", "k's put back"], made, note)
