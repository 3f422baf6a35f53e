"""The tables of the looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nb_evaluation.method import Described, Style
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, against
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.runs.groups import by_method, difference, paired
from nb_evaluation.stats.estimates import Estimate, iqm, paired_difference

METHODS = {
    "nb-k": Described(summary="k: a gate for each layer", row=1, style=Style("#0072B2", "-", "o")),
    "nb-pro-k": Described(summary="k: and for each 16 channels", row=2, style=Style("#56B4E9", "-", "s")),
    "nb-pro-signed-k": Described(summary="the same, of either sign", row=3, style=Style("#009E73", "-", "D")),
    "nb-channel-k": Described(summary="k: a gate for each channel", row=4, style=Style("#CC79A7", "-", "v")),
    "biases": Described(summary="the biases", row=5, style=Style("#E69F00", "-", "P")),
    "head": Described(summary="the output layer", row=6, style=Style("#F0E442", "-", "X")),
    "fine-tune": Described(summary="everything", row=7, style=Style("#D55E00", "-", "^")),
    "scratch": Described(summary="a new policy", row=8, style=Style("#999999", "-", "h")),
    "source": Described(summary="the policy as it was", row=9),
}

SHOWN = {
    "inverted": "all colours inverted",
    "faded": "three tenths of the contrast",
    "swapped": "the colours of arm and drive exchanged",
    "tilted": "the camera turned by 0.5 rad",
}
"""The looks that are adapted to, in words."""

BASELINE = "fine-tune"


def before(run: Any) -> float:
    """Mean return in the look before the adaptation."""
    return float(np.mean(run.result.before))


def after(run: Any) -> float:
    """Mean return in the look after the adaptation."""
    return float(np.mean(run.result.after))


def in_look(runs: Sequence[Any], look: str) -> dict[str, list[Any]]:
    """The runs in a look, by method."""
    return by_method([run for run in runs if run.spec.look == look], METHODS)


def pixels_tables(runs: Sequence[Any]) -> list[Table]:
    """A table for each look: returns before and after, and how far each method is above fine-tuning, seed by seed."""
    return [_table(look, groups) for look in SHOWN if (groups := in_look(runs, look))]


def _table(look: str, groups: dict[str, list[Any]]) -> Table:
    pairs, rows = paired(groups, BASELINE), []
    for name, group in groups.items():
        n, scores = len(group), np.array([after(run) for run in group])
        gain = ""
        if name in pairs:
            gain = interval(difference(pairs[name], after), len(pairs[name]), signed=True, digits=2)
        rows.append([
            f"`{name}`", METHODS[name].summary, f"{group[0].result.numbers:,}",
            number(float(np.mean([before(run) for run in group])), digits=2),
            interval(iqm(scores, np.random.default_rng(0)), n, digits=2), gain,
            number(float(scores.min()), digits=2), str(n),
        ])  # fmt: skip
    columns = [
        "method", "trains", "numbers", "before", "after [95 % CI]", f"this − `{BASELINE}`", "worst seed", "seeds",
    ]  # fmt: skip
    spec = next(iter(groups.values()))[0].spec
    note = (
        f"Returns of episodes of 50 decisions, means over 16 starts; interquartile means over the seeds. Source:"
        f" {spec.pretraining:,} decisions on the plain look; adaptation and new policy: {spec.decisions:,} decisions."
        " Numbers: those of the actor that train; beside them the critic's output layer does, and but with k alone the"
        " spread of the exploration."
    )
    return Table(f"Look `{look}`: {SHOWN[look]}", columns, rows, note)


def differences(runs: Sequence[Any]) -> dict[str, Estimate]:
    """How far each method is above fine-tuning, looks together, of methods with enough seeds in each look."""
    pairs = [paired(in_look(runs, look), BASELINE) for look in SHOWN if in_look(runs, look)]
    found = {}
    for name in METHODS:
        of_looks = [
            {ours.spec.seed: after(ours) - after(theirs) for ours, theirs in each.get(name, [])} for each in pairs
        ]
        seeds = [seed for seed in of_looks[0] if all(seed in each for each in of_looks)] if of_looks else []
        if len(seeds) >= FEWEST_SEEDS:
            gains = np.array([np.mean([each[seed] for each in of_looks]) for seed in seeds])
            found[name] = paired_difference(gains, np.zeros(len(seeds)), np.random.default_rng(0))
    return found


def pixels_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether k alone reaches what everything does, mean over the looks; None without enough seeds of both."""
    num_looks = len({run.spec.look for run in runs})
    return against(
        f"Return in pictures of {num_looks} other looks after {runs[0].spec.decisions:,} decisions there",
        differences(runs),
        BASELINE,
    )
