"""How far policies carry: return against A, and a map over A and torque gain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from benchmarks.methods import METHODS
from benchmarks.protocol.anchors import BEST, WORST, anchor_returns
from benchmarks.protocol.results import DRIVES, GRID_DRIVES, GRID_GAINS
from benchmarks.protocol.spec import RunSpec
from nb_evaluation.report.lines import Line, draw_lines
from nb_evaluation.report.style import GREY, panels_figure, scale_returns
from nb_evaluation.stats.estimates import interquartile_mean
from nb_gym import Context

REFERENCE_DRIVES = DRIVES[::3]
MAP_COLUMNS = 5
WORTH = 1.0, 20_000.0
"""Ends of the colour scale, in -return."""


def draw_over_drive(surveys: Mapping[str, NDArray[np.float64]], spec: RunSpec) -> Figure:
    """Return against A.

    Args:
        surveys: Returns of the runs by method, shape `(num_runs, len(DRIVES))`.
        spec: Specification of one of the runs.
    """
    figure, grid = draw_lines({name: Line(DRIVES, scores) for name, scores in surveys.items()}, METHODS)
    low, high = drive_range(spec)
    references = [anchor_returns({**spec.target, "A": A}) for A in REFERENCE_DRIVES]
    for axes in grid:
        axes.axvspan(low, high, color="0.9", linewidth=0, zorder=0)
        for name, line in ((WORST, ":"), (BEST, (0, (1, 3)))):
            axes.plot(
                REFERENCE_DRIVES, [each[name] for each in references], linestyle=line, color="0.35", linewidth=1.1
            )
        axes.set_xlim(DRIVES[0], DRIVES[-1])
    for axes in grid:
        scale_returns(axes)
    figure.supxlabel("drive amplitude A", fontsize=10)
    figure.supylabel("deterministic return", fontsize=10)
    return figure


def draw_maps(maps: Mapping[str, NDArray[np.float64]], spec: RunSpec) -> Figure:
    """A heat map over A and torque gain for each method.

    Args:
        maps: Returns of the runs by method, shape `(num_runs, len(GRID_DRIVES), len(GRID_GAINS))`.
        spec: Specification of one of the runs.
    """
    figure, grid = panels_figure(len(maps), MAP_COLUMNS, lambda i, j: (1.0 + 2.0 * i, 0.8 + 2.1 * j))
    half = GRID_DRIVES[1] / 2, (GRID_GAINS[1] - GRID_GAINS[0]) / 2
    extent = (GRID_DRIVES[0] - half[0], GRID_DRIVES[-1] + half[0], GRID_GAINS[0] - half[1], GRID_GAINS[-1] + half[1])
    for axes, (name, scores) in zip(grid, maps.items(), strict=True):
        worth = -interquartile_mean(scores, axis=0).T  # (len(GRID_GAINS), len(GRID_DRIVES))
        image = axes.imshow(worth, norm=LogNorm(*WORTH), cmap="cividis_r", origin="lower", aspect="auto", extent=extent)
        if worth.min() < 100 < worth.max():
            axes.contour(GRID_DRIVES, GRID_GAINS, worth, levels=[100.0], colors="black", linewidths=1.3)
        for context, marker in ((spec.middle, "o"), (spec.target, "*")):
            drive, gain = (context.get(each, getattr(Context(), each)) for each in ("A", "torque_gain"))
            axes.plot(drive, gain, marker, color="white", markeredgecolor="black", markersize=8)
        axes.set_title(name, loc="left", fontsize=9)
    bar = figure.colorbar(image, ax=grid, shrink=0.8, pad=0.01)
    bar.ax.invert_yaxis()
    bar.set_ticks([1, 10, 100, 1000, 10_000], labels=["−1", "−10", "−100", "−1,000", "−10,000"])
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label("deterministic return", fontsize=9, color=GREY)
    figure.supxlabel("drive amplitude A", fontsize=10)
    figure.supylabel("torque gain", fontsize=10)
    return figure


def drive_range(spec: RunSpec) -> tuple[float, float]:
    """From the source's A to the target's, in rising order."""
    between = spec.between.get("A", Context().A)
    low, high = between if isinstance(between, tuple) else (between, between)
    return float(low), float(high)
