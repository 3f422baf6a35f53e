"""What is read from the runs: rows by seed, and paired scores of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.robots.plan import FAMILY, METHODS
from benchmarks.questions.robots.worlds import EARLY, ROBOTS
from nb_evaluation.stats.estimates import Estimate, paired_difference

SUBJECTS = ("retrofit-turned", "retrofit", "student")
"""Rows whose first episodes are compared with fine-tuning; the first, chosen on seeds 0 to 2, decides the verdict."""

RIVAL = "fine-tune"

CONTROLS = (
    ("retrofit-turned", "randomised-source"),
    ("retrofit-turned", "retrofit"),
    ("retrofit-turned", "recurrent"),
    ("student", "randomised"),
    ("student", "recurrent"),
    ("nb-k-cma", "scale-cma"),
)
"""Rows, and what could take the credit: the same without gates or signs, memory alone, a search of another number."""


class Place(NamedTuple):
    """A robot, the width of its policies, and a target."""

    robot: str
    width: int
    target: str


class Score(NamedTuple):
    """What a row of a run reaches in one place.

    Attributes:
        final: Return of the policy as it is in the end; deterministic.
        zero: The same before it has trained in the target, which is its first episode there.
        early: Mean return of the training's first 25 episodes, exploration included; None without a training there.
        after: Return after as many decisions as 25 whole episodes take; None where it was not measured then.
        home: Return on the default robot in the end; None where nobody asked.
        row: The row, with its costs.
        adaptation: How the training there went; None without one.
    """

    final: float
    zero: float | None
    early: float | None
    after: float | None
    home: float | None
    row: Any
    adaptation: Any


Scores = dict[str, dict[int, Score]]
"""By row and seed."""


def places(runs: Sequence[Any]) -> list[Place]:
    """Where there are runs, in the order of the robots and their targets."""
    found = set()
    for run in runs:
        spec = run.spec
        names = ROBOTS[spec.robot].targets if spec.target == FAMILY else (spec.target,)
        found |= {Place(spec.robot, spec.width, name) for name in names}
    robots = list(ROBOTS)
    return sorted(found, key=lambda p: (robots.index(p.robot), p.width, list(ROBOTS[p.robot].targets).index(p.target)))


def by_row(runs: Sequence[Any], place: Place, context: str = "") -> Scores:
    """The scores in a place, or of what was trained over contexts in another context, in the order of the methods."""
    rows: Scores = {}
    order, mark = list(METHODS), EARLY * ROBOTS[place.robot].episode
    for run in sorted(runs, key=lambda run: (order.index(run.spec.method), run.spec.seed)):
        spec = run.spec
        name = context or place.target
        if (spec.robot, spec.width) != place[:2] or spec.target not in (FAMILY, name):
            continue
        for row_name, row in run.result.rows.items():
            if name in row.returns:
                rows.setdefault(row_name, {})[spec.seed] = _score(row, run.result.adaptation, name, mark)
    return rows


def _score(row: Any, adaptation: Any, name: str, mark: int) -> Score:
    final, home = row.returns[name], row.returns.get("source")
    if adaptation is None:
        alone = final if row.steps_there == 0 else None
        return Score(final, alone, None, None, home, row, None)
    after = dict(zip(adaptation.steps, adaptation.returns, strict=True)).get(mark)
    early = float(np.mean(adaptation.early)) if adaptation.early else None
    return Score(final, adaptation.returns[0], early, after, home, row, adaptation)


def values(row: dict[int, Score], what: str) -> NDArray[np.float64]:
    """One of a row's scores, seed by seed; empty where a seed has none, `(seeds,)`."""
    each = [getattr(score, what) for score in row.values()]
    return np.array([] if None in each else each, dtype=np.float64)


def paired(rows: Scores, one: str, other: str) -> tuple[dict[int, Score], dict[int, Score]]:
    """The scores of two rows, of the seeds that both have run."""
    ours, theirs = rows.get(one, {}), rows.get(other, {})
    return {s: ours[s] for s in ours if s in theirs}, {s: theirs[s] for s in ours if s in theirs}


def gap(rows: Scores, one: str, what: str, other: str, theirs: str) -> tuple[Estimate, int] | None:
    """How far a score of one row is above one of another, seed by seed; None without a common seed."""
    both = paired(rows, one, other)
    x, y = values(both[0], what), values(both[1], theirs)
    if not x.size or x.shape != y.shape:
        return None
    return paired_difference(x, y, np.random.default_rng(0)), len(x)
