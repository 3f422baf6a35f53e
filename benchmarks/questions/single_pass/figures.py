"""The figure: how long it takes until a policy knows where it is, and when that changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.questions.single_pass.families import DECISIONS, FAMILIES, FLIP
from benchmarks.questions.single_pass.scores import by_row
from nb_evaluation.method import Style
from nb_evaluation.report.lines import Line, band, draw_line
from nb_evaluation.report.style import Picture, panels_figure, tidy

STYLES = {
    "signed-student": Style("#0072B2", "-", "o"),
    "numbers-student": Style("#D55E00", "--", "s"),
    "maml-5": Style("#E69F00", "-", "D"),
    "recurrent": Style("#009E73", "-.", "^"),
    "history": Style("#CC79A7", ":", "v"),
    "blind": Style("#000000", "-", "x"),
}


def single_pass_pictures(runs: Sequence[Any]) -> list[Picture]:
    """Mean rewards of the first episode, decision by decision; none without a run of S or M."""
    drawn = {family: rows for family in ("S", "M") if (rows := by_row(runs, family))}
    if not drawn:
        return []
    figure, grid = panels_figure(2 * len(drawn), 2, lambda columns, rows: (5.2 * columns, 3.3 * rows), share_y=False)
    for i, (family, rows) in enumerate(drawn.items()):
        for axes, what in zip(grid[2 * i : 2 * i + 2], ("curve", "flipped"), strict=True):
            for name, style in STYLES.items():
                each = np.array([getattr(scores, what) for scores in rows.get(name, {}).values()])
                if each.size:
                    draw_line(axes, name, Line(np.arange(1, DECISIONS + 1), each), band(each), style)
            turn = f", the actuator turns around at {FLIP}" if what == "flipped" else f": {FAMILIES[family].summary}"
            axes.set_title(f"{family}{turn}", loc="left", fontsize=10)
            axes.set_yscale("symlog", linthresh=0.1)  # what an identified pendulum costs lies far below 1
            axes.set_ylabel("mean reward")
            tidy(axes)
    for axes in grid[-2:]:
        axes.set_xlabel("decision of the first episode")
    # The last panel has room; the first has all lines, also those of policies that are not turned around.
    grid[-1].legend(*grid[0].get_legend_handles_labels(), loc="lower left", frameon=False, fontsize=8)
    note = "Interquartile means over the seeds of the mean over all contexts in range, with pointwise 95 % intervals."
    alt = f"Mean reward at each decision of the first episode, a line for each of {', '.join(STYLES)}."
    return [Picture("The first episode, decision by decision", alt, note, figure, "single_pass")]
