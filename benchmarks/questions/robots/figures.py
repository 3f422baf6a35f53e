"""The figure: what a target's return is after how many steps there, and what is there without any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.questions.robots.plan import METHODS
from benchmarks.questions.robots.scores import Place, Scores, by_row, places, values
from nb_evaluation.report.lines import Line, band, draw_line
from nb_evaluation.report.style import Picture, panels_figure, tidy
from nb_evaluation.report.wording import FEWEST_SEEDS
from nb_evaluation.stats.estimates import interquartile_mean

LEVELS = ("student", "retrofit", "retrofit-turned", "randomised", "randomised-source", "recurrent")
"""Rows that are drawn as a level, for they take no step in the target."""


def robots_pictures(runs: Sequence[Any]) -> list[Picture]:
    """A figure of returns against steps in the target for each robot and width."""
    made = []
    for robot, width in dict.fromkeys(place[:2] for place in places(runs)):
        here = [place for place in places(runs) if place[:2] == (robot, width)]
        drawn = {place: by_row(runs, place) for place in here}
        if any(score.adaptation for rows in drawn.values() for row in rows.values() for score in row.values()):
            made.append(_picture(robot, width, drawn))
    return made


def _picture(robot: str, width: int, drawn: dict[Place, Scores]) -> Picture:
    figure, grid = panels_figure(len(drawn), 2, lambda columns, rows: (5.2 * columns, 3.4 * rows), share_y=False)
    most = max(len(row) for rows in drawn.values() for row in rows.values())
    for axes, (place, rows) in zip(grid, drawn.items(), strict=True):
        for name, row in rows.items():
            whole = len(row) == most
            _draw(axes, name, row, name if whole else f"{name} ({len(row)} of {most} seeds)", bands=whole)
        axes.set_title(place.target, loc="left", fontsize=10)
        axes.set_ylabel("return")
        tidy(axes)
    for axes in grid[-2:]:
        axes.set_xlabel("decisions in the target, thousands")
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    seeds = f"{most} seed{'s' if most > 1 else ''}, where the legend does not say fewer"
    edges = "; of those with all of them, pointwise 95 % intervals" if most >= FEWEST_SEEDS else ""
    note = (
        f"Interquartile means over {seeds}{edges}. Level lines are policies that were trained over many contexts and"
        " take no step in the target: their first episode."
    )
    panels = ", ".join(place.target for place in drawn)
    alt = f"Return in a target against decisions there, a panel for each of {panels}; {', '.join(handles)}."
    name = "robots" if (robot, width) == ("HalfCheetah", 64) else f"robots_{robot}_{width}"
    return Picture(f"{robot}, {width} × {width}: moved to another robot", alt, note, figure, name)


def _draw(axes: Axes, name: str, row: Any, label: str, *, bands: bool) -> None:
    curves = [score.adaptation for score in row.values() if score.adaptation]
    if curves:
        steps = min((each.steps for each in curves), key=len)
        lines = np.array([each.returns[: len(steps)] for each in curves])
        edges = band(lines) if bands else None
        draw_line(axes, label, Line(np.array(steps) / 1000.0, lines), edges, METHODS[name].style)
    elif name in LEVELS:
        level, style = values(row, "final"), METHODS[name].style
        axes.axhline(
            float(interquartile_mean(level)), color=style.colour, linestyle=style.line, label=label, linewidth=1.7
        )
        if bands and (edges := band(level[:, None])):
            axes.axhspan(edges[0][0], edges[1][0], color=style.colour, alpha=0.14, linewidth=0)
