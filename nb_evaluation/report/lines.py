"""Lines of scores by method: interquartile means with bands, grouped into panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from nb_evaluation.method import Described, Style, panels
from nb_evaluation.report.style import panels_figure, tidy
from nb_evaluation.report.wording import FEWEST_SEEDS
from nb_evaluation.stats.estimates import interquartile_mean, iqm


class Line(NamedTuple):
    """A method's line: x of the shape `(num_points,)` and scores of the shape `(num_runs, num_points)`."""

    x: ArrayLike
    scores: NDArray[np.float64]


def draw_lines(lines: Mapping[str, Line], methods: Mapping[str, Described]) -> tuple[Figure, list[Axes]]:
    """Interquartile means with bands, the methods grouped into panels that share their axes."""
    layout = panels(lines, methods)
    alone = len(layout) == 1
    figure, grid = panels_figure(len(layout), 2, lambda i, j: (9.0, 5.4) if alone else (5.3 * i, 3.4 * j))
    bands = {name: band(line.scores) for name, line in lines.items()}
    for axes, (title, names) in zip(grid, layout.items(), strict=True):
        for name in names:
            draw_line(axes, name, lines[name], bands[name], methods[name].style)
        axes.set_title(title, loc="left", fontsize=10, pad=24)
        axes.legend(
            frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(names), borderaxespad=0.2,
            fontsize=7.5, columnspacing=0.9, handlelength=2.4, handletextpad=0.4,
        )  # fmt: skip
        tidy(axes)
    return figure, grid


def band(scores: NDArray[np.float64]) -> tuple[list[float], list[float]] | None:
    """Pointwise 95 % interval of `(num_runs, num_points)`; None with less than `FEWEST_SEEDS` runs."""
    if len(scores) < FEWEST_SEEDS:
        return None
    rng = np.random.default_rng(0)
    points = [iqm(column, rng, num_resamples=500) for column in scores.T]
    return [point.low for point in points], [point.high for point in points]


def draw_line(axes: Axes, name: str, line: Line, edges: tuple[list[float], list[float]] | None, style: Style) -> None:
    """Draw a method's interquartile means with markers, and its band if there is one."""
    colour, dashes, marker = style
    middle = interquartile_mean(line.scores, axis=0)
    axes.plot(
        line.x, middle, color=colour, linestyle=dashes, label=name, linewidth=1.7,
        marker=marker, markersize=4.0, markevery=max(1, len(middle) // 6),
    )  # fmt: skip
    if edges:
        axes.fill_between(line.x, *edges, color=colour, alpha=0.14, linewidth=0)
