"""The figure: returns on the target against steps there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nb_agents.comparison.methods import METHODS
from nb_agents.comparison.tables import by_row, task
from nb_evaluation.report.lines import Line, band, draw_line
from nb_evaluation.report.style import Picture, panels_figure, tidy
from nb_evaluation.stats.estimates import interquartile_mean


def pictures(runs: Sequence[Any]) -> list[Picture]:
    """One figure; what takes no step in the target is drawn as a level."""
    figure, (axes,) = panels_figure(1, 1, lambda *_: (8.0, 4.6))
    for name, rows in by_row(runs).items():
        curves = list(rows.values())
        steps = min((row.steps for row in curves), key=len)
        # Where a rollout is an episode, seeds are measured at other steps.
        lines = np.array([np.interp(steps, row.steps, row.returns) for row in curves])
        if len(steps) > 1:
            draw_line(axes, name, Line(np.array(steps) / 1000.0, lines), band(lines), METHODS[name].style)
        else:
            level, style = float(interquartile_mean(lines[:, 0])), METHODS[name].style
            axes.axhline(level, color=style.colour, linestyle=style.line, label=name, linewidth=1.7)
    axes.set_xlabel("steps in the target, thousands")
    axes.set_ylabel("return")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    tidy(axes)
    title = task(runs[0].spec)
    note = (
        "Interquartile means over the seeds, with pointwise 95 % intervals where there are enough. Level lines take no"
        " step in the target."
    )
    alt = f"Return on the target against steps there: {', '.join(by_row(runs))}."
    return [Picture(title, alt, note, figure, "comparison")]
