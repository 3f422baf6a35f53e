"""What the runs of a comparison say, in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nb_agents.comparison.methods import METHODS
from nb_agents.comparison.specification import Row
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import interval, number
from nb_evaluation.stats.estimates import Estimate, iqm, paired_difference

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
    return f"{spec.env}, {source} → {target}, {spec.algo}"


def final_returns(rows: dict[int, Row]) -> NDArray[np.float64]:
    """Returns on the target in the end, shape ``(seeds,)``."""
    return np.array([row.returns[-1] for row in rows.values()])


def gap_between(rows: Rows, one: str, other: str) -> tuple[Estimate, int]:
    """How far a method ends above another, seed by seed, and in how many."""
    seeds = [seed for seed in rows[one] if seed in rows[other]]
    if not seeds:
        return Estimate(math.nan, math.nan, math.nan), 0
    x, y = (final_returns({seed: rows[name][seed] for seed in seeds}) for name in (one, other))
    return paired_difference(x, y, np.random.default_rng(0)), len(seeds)


def digits_of(rows: Rows) -> int:
    """Decimals that show returns of this size to three figures; at least one."""
    largest = max(abs(value) for each in rows.values() for row in each.values() for value in row.returns)
    return 1 if largest == 0.0 else int(np.clip(2 - math.floor(math.log10(largest)), 1, 6))


def _cell(scores: NDArray[np.float64], digits: int) -> str:
    if not scores.size:
        return ""
    estimate = iqm(scores, np.random.default_rng(0))
    return f"{interval(estimate, len(scores), digits=digits)}; {number(float(scores.min()), digits=digits)}"


def _returns(rows: Rows) -> Table:
    made, digits = [], digits_of(rows)
    for name, each in rows.items():
        before = np.array([row.returns[0] for row in each.values() if len(row.steps) > 1])
        numbers = next(iter(each.values())).numbers
        cells = [
            _cell(before, digits),
            _cell(final_returns(each), digits),
            f"{numbers:,}",
            f"{BYTES * numbers:,}",
            str(len(each)),
        ]
        made.append([f"`{name}`", *cells])
    heads = ["method", "before", "in the end", "numbers", "bytes", "seeds"]
    return Table("Returns on the target", heads, made, NOTE)


def _differences(rows: Rows) -> Table:
    made, digits = [], digits_of(rows)
    for name in rows:
        if RIVAL in rows and name != RIVAL:
            gap, seeds = gap_between(rows, name, RIVAL)
            made.append([f"`{name}`", interval(gap, seeds, signed=True, digits=digits), str(seeds)])
    note = "Interquartile means of the paired differences in the end [95 % CI]; the same seed has the same source."
    return Table(f"Above `{RIVAL}`", ["method", "difference", "seeds"], made, note)


def _kept(rows: Rows) -> Table:
    made, digits = [], digits_of(rows)
    for name, each in rows.items():
        before = np.array([row.source_before for row in each.values() if row.source_before is not None])
        back = [row for row in each.values() if row.source_back is not None]
        equal = f"equal in {sum(row.source_back == row.source_before for row in back)} of {len(back)}" if back else ""
        after = np.array([row.source_after for row in each.values()])
        made.append([f"`{name}`", _cell(before, digits), _cell(after, digits), equal])
    note = (
        "Returns on the source; with the source's k's put back, a policy whose k's alone have trained is the source's."
    )
    return Table("What is kept of the source", ["method", "before", "after", "k's put back"], made, note)
