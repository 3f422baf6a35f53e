"""The methods, the families that each is run on, and what is read from the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.single_pass.families import FAMILIES, FLIP
from nb_evaluation.method import Described

METHODS = {
    name: Described(summary=summary)
    for name, summary in {
        "signed": "signed gates, k = f(context), and their student",
        "sigma": "σ gates, k = f(context), and their student",
        "film": "FiLM gates, k = f(context), and their student",
        "signed-layer": "one signed gate per layer, and its student",
        "numbers": "ten numbers f(context) in the observation, and their student",
        "context": "the context in the observation",
        "blind": "one policy over all contexts",
        "maml": "MAML, 0 to 5 inner steps of three episodes each",
        "maml-short": "MAML, 0 to 5 inner steps of one episode each",
        "history": "the last eight transitions in the observation",
        "recurrent": "RecurrentPPO",
        "fine-tune": "that of `blind`, fine-tuned for 5 or 25 episodes",
        "retrofit": "signed gates, k = f(context), on weights that trained without any, in one context or in all",
        "retrofit-turned": "the same in one context, where f begins at the better of both signs",
        "oracle": "a policy trained on the target alone",
    }.items()
}
PLAN = {
    "S": tuple(METHODS),
    "M": tuple(name for name in METHODS if name != "oracle"),
    "P": ("signed", "blind", "maml", "maml-short", "fine-tune", "oracle"),
    "W": ("signed", "blind", "history"),
}
"""The methods of each family."""

SUBJECT = "signed-student"
"""The row that the others are compared with."""

Rows = dict[str, dict[int, Any]]
"""Scores by row and seed."""


def by_row(runs: Sequence[Any], family: str) -> Rows:
    """The scores of a family's runs, in the order of the methods."""
    rows: Rows = {}
    order = list(METHODS)
    for run in sorted(runs, key=lambda run: (order.index(run.spec.method), run.spec.seed)):
        if run.spec.family == family:
            for name, scores in run.result.scores.items():
                rows.setdefault(name, {})[run.spec.seed] = scores
    return rows


class Part(NamedTuple):
    """Contexts of a family whose mean is reported.

    Attributes:
        name: Head of the column.
        chosen: Whether each of the family's contexts is one of them, `(contexts,)`.
    """

    name: str
    chosen: NDArray[np.bool_]


def parts(family: str) -> list[Part]:
    """Contexts in range that a torque can hold, all in range where those are more, and those held out."""
    described = FAMILIES[family]
    here = np.arange(len(described.contexts)) < len(described.in_range)
    holdable = described.holdable(described.contexts)
    found = [Part("in range", here & holdable)]
    if not holdable[here].all():
        found.append(Part("in range, all", here))
    return [*found, Part("held out", ~here)] if described.held_out else found


def means(row: dict[int, Any], part: Part, episode: int = 0) -> NDArray[np.float64]:
    """Mean returns of an episode over the contexts of a part, `(seeds,)`."""
    return np.array([np.mean(np.array(each.returns[episode])[part.chosen]) for each in row.values()])


def best_of(rows: Rows, names: Sequence[str], seeds: Sequence[int], part: Part) -> NDArray[np.float64]:
    """Means over the contexts of a part of the best of the episodes of some rows in each, `(seeds,)`."""
    best = [[np.max(np.array(rows[name][seed].returns)[:, part.chosen], axis=0) for name in names] for seed in seeds]
    return np.asarray(np.max(best, axis=1).mean(axis=1))


def pairs(rows: Rows, name: str) -> tuple[dict[int, Any], dict[int, Any]]:
    """The subject's scores and another row's, of the seeds that both have run."""
    ours, theirs = rows.get(SUBJECT, {}), rows.get(name, {})
    return {s: ours[s] for s in ours if s in theirs}, {s: theirs[s] for s in theirs if s in ours}


TURNED: dict[str, Callable[[Any], float]] = {
    "second half, no turn": lambda scores: sum(scores.curve[FLIP:]),
    "second half": lambda scores: sum(scores.flipped[FLIP:]),
    "the ten decisions after the turn": lambda scores: sum(scores.flipped[FLIP : FLIP + 10]),
    "from then on": lambda scores: sum(scores.flipped[FLIP + 10 :]),
    "from then on, minus that without a turn": lambda scores: (
        sum(scores.flipped[FLIP + 10 :]) - sum(scores.curve[FLIP + 10 :])
    ),
}
"""Returns of parts of an episode in which the actuator turns around."""
