"""The table and the figure of Navigation2D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nb_evaluation.method import Described
from nb_evaluation.report.style import Picture, tidy
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, beats
from nb_evaluation.runs.groups import by_method
from nb_evaluation.stats.estimates import Estimate, paired_difference

LEARNERS = {
    "maml": "MAML", "fomaml": "FOMAML", "anil": "ANIL", "meta-sgd": "MetaSGD", "promp": "ProMP", "reptile": "Reptile",
    "joint": "JointTraining", "untrained": "MAML",
}  # fmt: skip
"""The methods, and their classes in `nb_agents.maml`."""

METHODS = {name: Described(summary=learner) for name, learner in LEARNERS.items()}
PEER = {"before": -39.9, "after": -17.4}
LAST = 20
"""Number of last meta-iterations that the mean is taken over."""
CONTROLS = ("joint", "untrained")
LINES = {"maml": "#0072B2", "joint": "#D55E00"}


def navigation_tables(runs: Sequence[Any]) -> list[Table]:
    """Returns on the goals held out, after 0 to 3 inner steps."""
    groups = by_method(runs, METHODS)
    finals = _finals(runs)
    rows = []
    for name, group in groups.items():
        cells = [f"`{name}`", *(f"{each:.1f}" for each in finals[name].mean(axis=(0, 2)))]
        last = ""
        if name != "untrained":
            before, after = np.mean([np.mean(each.result.held_out[-LAST:], axis=0) for each in group], axis=0)
            last = f"{before:.1f} / {after:.1f}"
        gain = ""
        if _comparable(finals, name):
            found = _gain(finals, name)
            gain = f"{found.point:.1f} [{found.low:.1f}, {found.high:.1f}]"
        rows.append([*cells, last, gain])
    rows.append(["pytorch-maml-rl", "", "", "", "", f"{PEER['before']} / {PEER['after']}", ""])
    columns = ["method", "before", "1 step", "2 steps", "3 steps", "last 20, before / after", "MAML − this, 1 step"]
    note = "Means over the seeds and goals; differences: interquartile means, seed by seed and goal by goal."
    return [Table("Navigation2D, return on held-out goals (exploring policies)", columns, rows, note)]


def navigation_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether MAML is above its controls after one inner step; None without them."""
    finals = _finals(runs)
    gains = {name: _gain(finals, name) for name in CONTROLS if _comparable(finals, name)}
    return beats("maml", gains, "After one inner step")


def _finals(runs: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Returns by method, of the shape `(num_runs, steps, goals)`."""
    groups = by_method(runs, METHODS)
    return {name: np.array([each.result.final for each in group]) for name, group in groups.items()}


def _comparable(finals: Mapping[str, NDArray[np.float64]], name: str) -> bool:
    return name != "maml" and name in finals and len(finals.get("maml", ())) == len(finals[name])


def _gain(finals: Mapping[str, NDArray[np.float64]], name: str) -> Estimate:
    """How far MAML is above a method after one inner step."""
    return paired_difference(finals["maml"][:, 1], finals[name][:, 1], np.random.default_rng(0))


def navigation_pictures(runs: Sequence[Any]) -> list[Picture]:
    """Held-out returns before and after one inner step, against environment steps; none without all three methods."""
    groups = by_method(runs, METHODS)
    if not {"maml", "joint", "untrained"} <= groups.keys():
        return []
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, colour in LINES.items():
        steps = np.mean([each.result.steps for each in groups[name]], axis=0)
        curves = np.array([each.result.held_out for each in groups[name]])
        for k, style in enumerate(("--", "-")):
            axes.plot(steps, curves[..., k].mean(axis=0), style, color=colour, label=f"{name}, {k} inner steps")
            axes.fill_between(steps, curves[..., k].min(axis=0), curves[..., k].max(axis=0), color=colour, alpha=0.15)
    axes.axhline(PEER["after"], color="grey", linestyle=":", label="pytorch-maml-rl after 1 step, iterations 21-40")
    untrained = np.mean([each.result.final for each in groups["untrained"]], axis=(0, 2))[1]
    axes.axhline(untrained, color="black", linestyle=":", label="untrained after 1 step")
    axes.set(xlabel="environment steps", ylabel="return on held-out goals")
    axes.legend(fontsize=8)
    tidy(axes)
    alt = "Returns on held-out goals of MAML and joint training, before and after an inner step, against steps."
    note = "Lines: means over the seeds; bands: their range."
    return [Picture("Navigation2D: before and after one inner step", alt, note, figure, "navigation")]
