"""What all figures share: axes of returns, differences and scores, panels, and deterministic SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from nb_evaluation.files import write_atomically
from nb_evaluation.report.wording import number

NEAR = 0.01
"""Distance from a normalised score of 1 within which an axis of scores is even."""

GREY = "0.4"


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Attributes:
        title: Subject of the figure.
        alt: Description for those who do not see it.
        note: Explanation for those who read it.
        figure: Drawing.
        name: Name of its file beside the runs, without the ending; empty where the page alone shows it.
    """

    title: str
    alt: str
    note: str
    figure: Figure
    name: str = ""


def panels_figure(
    number: int, columns: int, size: Callable[[int, int], tuple[float, float]], *, share_y: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of `size(columns, rows)` with panels that share their axes, row by row, in at most `columns` columns."""
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=size(columns, rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=share_y, squeeze=False).ravel()
    for axes in grid[number:]:
        axes.set_axis_off()
    for axes in grid[max(0, number - columns) : number]:
        axes.tick_params(labelbottom=True)
    return figure, list(grid[:number])


def svg(figure: Figure) -> bytes:
    """The figure as SVG: the same figure gives the same bytes, and text is drawn, so that no font is needed."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "neural battery", "svg.fonttype": "path"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=metadata)
    # Six decimals of a point are more than anyone can see; the paths, most of the file, need two.
    return re.sub(rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path.group()), buffer.getvalue())


def save_png(figure: Figure, path: Path, text: str) -> None:
    """Write the figure into a PNG file, with a caption below; the figure is of no use afterwards."""
    figure.text(0.01, -0.01, text, fontsize=7.5, color="0.35", va="top", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, bbox_inches="tight", pad_inches=0.1)
    write_atomically(path, buffer.getvalue())


def tidy(axes: Axes, grid: Literal["x", "y"] = "y") -> None:
    """Take away what does not help to read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)


def _drawn(axes: Axes, which: str) -> tuple[float, float]:
    """Ends of what is drawn, in all panels that share the axis; the first is the larger one where nothing is."""
    shared = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
    ends = np.array([getattr(each.dataLim, f"interval{which}") for each in shared])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def scale_returns(axes: Axes, which: str = "y") -> None:
    """A logarithmic axis of returns that holds everything drawn; ticks at 1 and 3 times the powers of ten."""
    low, high = _drawn(axes, which)
    if low > high:
        return  # nothing is drawn
    low, high = min(low, -1.0), min(high, -0.3)
    bounds = 1.6 * low, high / 1.6
    ticks = [-factor * 10.0**power for power in range(int(np.log10(-bounds[0])) + 1) for factor in (1, 3)]
    if which == "x" and -bounds[0] > 300 * -bounds[1]:  # decades only, or the labels would touch
        ticks = ticks[::2]
    shown = [tick for tick in sorted(ticks) if bounds[0] <= tick <= bounds[1]]
    axis = axes.yaxis if which == "y" else axes.xaxis
    getattr(axes, f"set_{which}scale")("symlog", linthresh=1.0)
    getattr(axes, f"set_{which}lim")(*bounds)
    axis.set_ticks(shown, [number(tick, digits=0) for tick in shown])
    axis.set_minor_locator(NullLocator())


def scale_differences(axes: Axes) -> None:
    """A horizontal axis of differences, even up to ±10 and logarithmic beyond: one that is large hides no small one."""
    low, high = _drawn(axes, "x")
    if low > high:
        return  # nothing is drawn
    low, high = min(low, -10.0), max(high, 10.0)
    axes.set_xscale("symlog", linthresh=10.0)
    axes.set_xlim(1.6 * low, 1.6 * high)
    sizes = [factor * 10.0**power for power in range(1, 7) for factor in (1, 3)]
    if -low * high > 1e4:  # decades only, or the labels would touch
        sizes = sizes[::2]
    ticks = [tick for tick in (*(-size for size in reversed(sizes)), 0.0, *sizes) if 1.6 * low <= tick <= 1.6 * high]
    axes.set_xticks(ticks, [number(tick, signed=tick != 0, digits=0) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def scale_scores(axes: Axes) -> None:
    """An upright axis of normalised scores that holds everything drawn, even near 1 and logarithmic below.

    What matters lies close to 1, the reference controller, and what fails lies far below 0, no torque.
    """
    low, high = _drawn(axes, "y")
    if low > high:
        return  # nothing is drawn

    def forward(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.arcsinh((1.0 - np.asarray(scores)) / NEAR)

    def backward(heights: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 - NEAR * np.sinh(-np.asarray(heights))

    axes.set_yscale("function", functions=(forward, backward))
    bottom, top = forward(np.array([min(low, 0.9), max(high, 1.0)])) + np.array([-0.3, 0.3])
    axes.set_ylim(*backward(np.array([bottom, top])))
    gaps = [factor * 10.0**power for power in range(-2, 5) for factor in (1, 3)]
    ticks = [1.0, *(1.0 - gap for gap in gaps), *(1.0 + gap for gap in gaps)]
    shown = [tick for tick in ticks if bottom <= forward(np.array(tick)) <= top]
    axes.set_yticks(shown, [f"{tick:.4g}".replace("-", "−") for tick in shown])
    axes.yaxis.set_minor_locator(NullLocator())


def apart(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move rising heights apart, up and down alike, until neighbours are at least `gap` from each other."""
    offsets = gap * np.arange(len(heights))
    upwards: NDArray[np.float64] = np.maximum.accumulate(heights - offsets) + offsets
    downwards: NDArray[np.float64] = np.minimum.accumulate((heights - offsets)[::-1])[::-1] + offsets
    return 0.5 * (upwards + downwards)
