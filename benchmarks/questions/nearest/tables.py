"""The tables of the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nb_evaluation.method import Described
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict
from nb_evaluation.report.wording import interval, number
from nb_evaluation.runs.groups import by_method
from nb_evaluation.stats.estimates import Estimate, iqm

METHODS = {
    "dynamics": Described(summary="the task whose model predicts best: `Battery.nearest`", row=1),
    "likelihood": Described(summary="the k-set under which the actions are most likely", row=2),
    "advantage": Described(summary="the same, actions weighted by their advantage", row=3),
    "return": Described(summary="the k-set that was paid as much", row=4),
    "trial": Described(summary="every k-set tried, the best return", row=5),
}

WORLDS = {"pendulum": 0.95, "cheetah": 0.90}
"""The worlds, and the share that is asked of the battery there."""


def right(run: Any) -> float:
    """Share of the trials in which the task's own k-set was chosen."""
    chosen = np.array(run.result.chosen)
    return float((chosen == np.arange(len(chosen))[:, None]).mean())


def worst(runs: Sequence[Any]) -> float:
    """The share of the task that is found least often, all seeds together."""
    chosen = np.array([run.result.chosen for run in runs])
    return float((chosen == np.arange(chosen.shape[1])[:, None]).mean(axis=(0, 2)).min())


def loss(run: Any) -> float:
    """What the chosen k-sets return less than the task's own, mean over the trials."""
    chosen, returns = np.array(run.result.chosen), np.array(run.result.returns)
    got = np.take_along_axis(returns, chosen, axis=1)
    return float((returns.diagonal()[:, None] - got).mean())


def nearest_tables(runs: Sequence[Any]) -> list[Table]:
    """A table for each world: how often the task's own k-set is chosen, and what the others cost."""
    found = []
    for world in WORLDS:
        groups = by_method([run for run in runs if run.spec.world == world], METHODS)
        rows = []
        for name, group in groups.items():
            losses = iqm(np.array([loss(run) for run in group]), np.random.default_rng(0))
            rows.append([
                f"`{name}`", METHODS[name].summary, interval(share(group), len(group), digits=1),
                number(100 * worst(group)), interval(losses, len(group), digits=2), str(len(group)),
            ])  # fmt: skip
        if rows:
            columns = ["method", "", "right, % [95 % CI]", "worst task, %", "return lost [95 % CI]", "seeds"]
            spec = runs[0].spec
            note = (
                f"Eight tasks, each acted in by eight k-sets for {spec.steps} steps: 64 trials a seed; guessing is "
                "right in 12.5 %. Return lost: that of the task's own k-set in as many steps, less the chosen one's."
            )
            found.append(Table(f"Finding the task's k-set, {world}", columns, rows, note))
    return found


def share(group: Sequence[Any]) -> Estimate:
    """The share of right choices in per cent."""
    return iqm(np.array([100 * right(run) for run in group]), np.random.default_rng(0))


def nearest_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether the battery finds the task as often as is asked of it; None where a world is missing."""
    found = {}
    for world in WORLDS:
        group = [run for run in runs if run.spec.world == world and run.spec.method == "dynamics"]
        if not group:
            return None
        found[world] = share(group), len(group)
    more = " ".join(f"{world}: {interval(each, n)} %." for world, (each, n) in found.items())
    if all(each.low >= 100 * WORLDS[world] for world, (each, _) in found.items()):
        said = "A battery with a model of each task finds the k-set that fits 50 steps."
        return Verdict(said, "better", more, "found")
    said = "A battery with a model of each task does not find the k-set that fits 50 steps as often as was asked."
    return Verdict(said, "worse", more, "missed")
