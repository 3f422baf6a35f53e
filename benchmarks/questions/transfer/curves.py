"""Learning curves: the deterministic return in the target context against all environment steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.methods import METHODS, by_method
from benchmarks.protocol.anchors import BEST, PUBLISHED, PUBLISHED_TARGET, WORST, anchor_returns
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from benchmarks.report.wording import conditions, describe_context
from nb_evaluation.report.lines import Line, draw_lines
from nb_evaluation.report.style import GREY, Picture, apart, save_png, scale_returns
from nb_evaluation.report.wording import number

LABEL_GAP = 0.16
"""Decades between labels of neighbouring lines."""

LEGEND = "Dotted: reference controllers over the same starts, and the best training episodes that the paper printed."


def save_curves(runs: Sequence[Run], path: Path, caption: str) -> None:
    """Draw the learning curves into a PNG file, with a caption."""
    save_png(draw_curves(runs), path, f"{caption} {conditions(runs)} {LEGEND}")


def picture_of_curves(runs: Sequence[Run]) -> Picture:
    """The same figure for the page."""
    spec = runs[0].spec
    return Picture(
        title=f"Learning curves at {describe_context(spec.target)}",
        alt=(
            f"Interquartile mean of the deterministic return at {describe_context(spec.target)}, on a logarithmic axis,"
            f" against environment steps, a line for each of {', '.join(by_method(runs))}, with a band for its"
            " interval. The tables hold the values at the end."
        ),
        note=(
            "Lines: interquartile means; bands: pointwise 95 % intervals. The vertical line is where the transfer"
            f" begins. {LEGEND}"
        ),
        figure=draw_curves(runs),
    )


def draw_curves(runs: Sequence[Run]) -> Figure:
    """Pretraining and transfer, against the physics steps of both."""
    spec = runs[0].spec
    lines = {
        name: Line(group[0].result.curve.steps, np.array([run.result.curve.target for run in group]))
        for name, group in by_method(runs).items()
    }
    figure, grid = draw_lines(lines, METHODS)
    end = max(run.summary.steps for run in runs)
    for axes in grid:
        if end > spec.transfer_episodes * EPISODE_STEPS:
            _mark_transfer(axes, spec)
        axes.set_xlim(0, end)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k")
    _draw_anchors(grid, spec)
    figure.supxlabel("environment steps (physics steps, pretraining included)", fontsize=10)
    figure.supylabel(f"deterministic return at {describe_context(spec.target)}", fontsize=10)
    for axes in grid:
        scale_returns(axes)
    return figure


def _mark_transfer(axes: Axes, spec: RunSpec) -> None:
    start = spec.pretrain_episodes * EPISODE_STEPS
    axes.axvline(start, color="0.6", linewidth=1.0)
    text = f"{describe_context(spec.source)} → {describe_context(spec.target)}"
    axes.annotate(
        text, (start, 0.03), xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points",
        color=GREY, fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _draw_anchors(grid: Sequence[Axes], spec: RunSpec) -> None:
    """Horizontal lines, each with its label right of the last column, moved apart where they would overlap."""
    references = anchor_returns(spec.target)
    lines: dict[str, tuple[float, Any]] = {
        f"{name} {number(references[name])}": (references[name], ":") for name in (WORST, BEST)
    }
    if spec.target == PUBLISHED_TARGET:
        lines |= {f"published {name} {number(row.best)}": (row.best, (0, (1, 3))) for name, row in PUBLISHED.items()}
    ordered = sorted(lines.items(), key=lambda item: item[1][0])
    heights = apart(np.array([-np.log10(-value) for _, (value, _) in ordered]), LABEL_GAP * (1 + (len(grid) > 1)))
    for axes in grid:
        for _, (value, style) in ordered:
            axes.axhline(value, color="0.45", linestyle=style, linewidth=1.0, zorder=0)
        axes.update_datalim([(0.0, -(10.0 ** -heights[0]))])  # room for the lowest label
        place = axes.get_subplotspec()
        if place is None or not place.is_last_col():
            continue
        for (label, _), height in zip(ordered, heights, strict=True):
            axes.annotate(
                label, (1.0, -(10.0**-height)), xycoords=("axes fraction", "data"), xytext=(6, 0),
                textcoords="offset points", va="center", fontsize=8, color="0.35",
            )  # fmt: skip
