"""The figure of the looks: what a number of trained numbers is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.questions.pixels.tables import METHODS, SHOWN, after, before, in_look
from nb_evaluation.report.style import Picture, panels_figure, scale_returns, tidy
from nb_evaluation.stats.estimates import interquartile_mean


def pixels_pictures(runs: Sequence[Any]) -> list[Picture]:
    """Return after adapting against the numbers that trained, a panel for each look."""
    figure = _drawn(runs)
    alt = "Return after adapting, on a logarithmic axis, against the numbers that trained, a panel for each look."
    note = "Small: seeds; large: interquartile means. Dotted: the source before adapting."
    return [Picture("Return after adapting to another look", alt, note, figure, "pixels")]


def _drawn(runs: Sequence[Any]) -> Figure:
    looks = [look for look in SHOWN if in_look(runs, look)]
    figure, grid = panels_figure(len(looks), 2, lambda i, j: (max(6.0, 4.0 * i), 1.2 + 2.8 * j), share_y=True)
    for axes, look in zip(grid, looks, strict=True):
        groups = in_look(runs, look)
        for name, group in groups.items():
            style, numbers = METHODS[name].style, group[0].result.numbers
            scores = [after(run) for run in group]
            if numbers:
                axes.plot([numbers] * len(scores), scores, style.marker, color=style.colour, markersize=3, alpha=0.5)
                axes.plot(
                    numbers, interquartile_mean(scores), style.marker, color=style.colour, markersize=9, label=name
                )
        known = [before(run) for name, group in groups.items() if name != "scratch" for run in group]
        if known:
            axes.axhline(float(np.mean(known)), color="0.35", linestyle=":", linewidth=1.1)
        axes.set_xscale("log")
        axes.set_title(f"{look}: {SHOWN[look]}", loc="left", fontsize=10)
        scale_returns(axes)
        tidy(axes)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.supxlabel("numbers of the actor that train", fontsize=10)
    figure.supylabel("return after adapting", fontsize=10)
    return figure
