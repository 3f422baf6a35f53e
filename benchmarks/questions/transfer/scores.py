"""Figures of the scores at the end: intervals, single seeds, profiles, and score against numbers adapted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.methods import METHODS, by_method
from benchmarks.protocol import anchors
from benchmarks.protocol.anchors import PUBLISHED, PUBLISHED_AS, anchor_returns
from benchmarks.protocol.run import Run
from benchmarks.protocol.summary import Summary
from benchmarks.report.wording import describe_context
from nb_evaluation.method import panels
from nb_evaluation.report.style import GREY, Picture, panels_figure, scale_returns, tidy
from nb_evaluation.report.wording import FEWEST_SEEDS, number
from nb_evaluation.stats.estimates import iqm, performance_profile

Figures = dict[str, tuple[str, Callable[[Summary], float | None]]]

INTERVAL_PANELS: Figures = {
    "final": ("final return\n(mean of the last 10 evaluations)", lambda summary: summary.last_evaluations),
    "best": ("best training episode\n(the paper's metric)", lambda summary: summary.best_episode),
    "source": ("source task afterwards", lambda summary: summary.source_after),
}

NUM_THRESHOLDS = 61

HOLLOW: dict[str, Any] = {"markerfacecolor": "none", "linestyle": "none"}
EDGED: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.6}
"""How marks are drawn: of single seeds, and of points with an interval."""


def score_pictures(runs: Sequence[Run]) -> list[Picture]:
    """All of them, in the order of the page."""
    target = describe_context(runs[0].spec.target)
    names = ", ".join(by_method(runs))
    pictures = [
        Picture(
            "Interval plots",
            f"Three panels with a row for each of {names}: interquartile mean and 95 % interval of the final return at"
            f" {target}, of the best training episode and of the return on the source task afterwards.",
            "Points: interquartile means; bars: 95 % intervals. Dotted: reference controllers, numbered at the top.",
            draw_intervals(runs),
        ),
        Picture(
            "Performance profiles",
            f"For each of {names}: the fraction of seeds whose final return at {target} is above τ, falling from left"
            " to right.",
            "Fraction of the seeds whose final return is above τ; higher is better. Bands: pointwise 95 % intervals.",
            draw_profiles(runs),
        ),
        Picture(
            "Every seed",
            f"A row of marks for each of {names}, one mark per seed at its final return at {target}, and an upright"
            " stroke at the median.",
            "One mark for each seed, at its final return; the stroke is the median.",
            draw_strips(runs),
        ),
        Picture(
            "Score against numbers adapted",
            f"Final return at {target} against how many numbers of the deployed policy the transfer may change, a point"
            f" with its interval for each of {names}.",
            "Interquartile means with 95 % intervals; methods that adapt equally many numbers stand side by side.",
            draw_sizes(runs),
        ),
    ]
    if anchors.is_published_protocol(runs[0].spec) and set(by_method(runs)) & set(PUBLISHED_AS.values()):
        pictures.append(
            Picture(
                "Published and reproduced",
                "For MAML, NB and NB Pro: the best training episode as the paper printed it, near the return of no"
                " torque, and that of each seed here with the mean.",
                "The paper's metric, best training episode of the transfer. Crosses: as printed. Small marks: each seed"
                " here; large ones: their mean. Dotted: no torque.",
                draw_published(runs),
            )
        )
    return pictures


def draw_intervals(runs: Sequence[Run]) -> Figure:
    """A row for each method, a column for each figure of the summary."""
    groups = by_method(runs)
    spec = runs[0].spec
    references = {"final": anchor_returns(spec.target), "source": anchor_returns(spec.middle)}
    figure = Figure(figsize=(10.0, 1.5 + 0.3 * len(groups)), layout="constrained")
    grid = figure.subplots(1, len(INTERVAL_PANELS), sharey=True)
    for axes, (key, (title, figure_of)) in zip(grid, INTERVAL_PANELS.items(), strict=True):
        for row, (name, group) in enumerate(groups.items()):
            scores = [score for run in group if (score := figure_of(run.summary)) is not None]
            if scores:
                _draw_interval(axes, name, scores, row)
        for i, value in enumerate(references.get(key, {}).values(), start=1):
            axes.axvline(value, color="0.5", linestyle=":", linewidth=1.0, zorder=0)
            axes.annotate(
                str(i), (value, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1), textcoords="offset points",
                ha="center", fontsize=7, color=GREY,
            )  # fmt: skip
        scale_returns(axes, "x")
        axes.set_xlabel(title, fontsize=9)
        tidy(axes, "x")
    _label_rows(grid[0], list(groups))
    numbered = ", ".join(f"{i}: {name}" for i, name in enumerate(anchors.CONTROLLERS, start=1))
    figure.suptitle(numbered, fontsize=8, color=GREY, ha="right", x=0.99)
    return figure


def draw_strips(runs: Sequence[Run]) -> Figure:
    """A row for each method, a mark for each seed."""
    groups = by_method(runs)
    figure = Figure(figsize=(9.0, 1.0 + 0.34 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for row, (name, group) in enumerate(groups.items()):
        scores = [run.summary.last_evaluations for run in group]
        heights = row + 0.22 * np.sin(2.4 * np.arange(len(scores)))  # apart, and the same at every drawing
        colour, _, marker = METHODS[name].style
        axes.plot(scores, heights, marker=marker, color=colour, markersize=5, markeredgewidth=1.1, **HOLLOW)
        axes.plot([np.median(scores)] * 2, [row - 0.38, row + 0.38], color="black", linewidth=2.0)
    scale_returns(axes, "x")
    axes.set_xlabel(f"final return at {describe_context(runs[0].spec.target)}", fontsize=9)
    tidy(axes, "x")
    _label_rows(axes, list(groups))
    return figure


def draw_profiles(runs: Sequence[Run]) -> Figure:
    """Fraction of seeds above a threshold, the methods grouped as in the learning curves."""
    groups = by_method(runs)
    scores = {name: [run.summary.last_evaluations for run in group] for name, group in groups.items()}
    everything = np.concatenate(list(scores.values()))
    low, high = np.log10(-everything.min()) + 0.1, np.log10(-everything.max()) - 0.1
    thresholds = -np.logspace(low, high, NUM_THRESHOLDS)
    layout = panels(groups, METHODS)
    alone = len(layout) == 1
    figure, grid = panels_figure(len(layout), 2, lambda i, j: (8.0, 4.2) if alone else (4.5 * i, 2.6 * j))
    for axes, (title, methods) in zip(grid, layout.items(), strict=True):
        for name in methods:
            colour, dashes, _ = METHODS[name].style
            profile = performance_profile(scores[name], thresholds, np.random.default_rng(0), num_resamples=500)
            axes.step(thresholds, profile.point, color=colour, linestyle=dashes, label=name, linewidth=1.7)
            if len(scores[name]) >= FEWEST_SEEDS:
                axes.fill_between(
                    thresholds, profile.low, profile.high, color=colour, alpha=0.12, linewidth=0, step="pre"
                )
        axes.set_title(title, loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="lower left", handlelength=2.6)
        axes.set_ylim(-0.02, 1.02)
        tidy(axes)
    for axes in grid:
        scale_returns(axes, "x")
    figure.supxlabel("τ, final return", fontsize=10)
    figure.supylabel("fraction of seeds above τ", fontsize=10)
    return figure


def draw_sizes(runs: Sequence[Run]) -> Figure:
    """Final return against the numbers of the deployed policy that the transfer may change."""
    groups = by_method(runs)
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    axes = figure.subplots()
    sizes: dict[int, list[str]] = {}
    for name, group in groups.items():
        size = group[0].result.numbers_adapted
        # All that adapt every weight differ by a few gates only: they are one place on this axis.
        nearest = next((each for each in sizes if abs(each - size) < 0.02 * size), size)
        sizes.setdefault(nearest, []).append(name)
    places: dict[str, int] = {}
    start = 0
    for _, names in sorted(sizes.items()):
        for place, name in enumerate(names, start):
            places[name] = place
            _draw_interval(axes, name, [run.summary.last_evaluations for run in groups[name]], place, "y")
        axes.annotate(
            f"{_size_range(groups, names)}", (start + (len(names) - 1) / 2, 1.0),
            xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=9,
        )  # fmt: skip
        if start:
            axes.axvline(start - 1, color="0.75", linewidth=0.8)
        start += len(names) + 1
    scale_returns(axes)
    axes.set_xticks(list(places.values()), list(places), rotation=40, ha="right", fontsize=8)
    axes.set_xlim(-0.7, start - 1.3)
    axes.set_title("numbers adapted", loc="left", fontsize=9, color=GREY, pad=18)
    axes.set_ylabel(f"final return at {describe_context(runs[0].spec.target)}", fontsize=9)
    tidy(axes)
    return figure


def draw_published(runs: Sequence[Run]) -> Figure:
    """The paper's three rows, as printed and as measured."""
    groups = by_method(runs)
    rows = [(theirs, ours) for theirs, ours in PUBLISHED_AS.items() if ours in groups]
    figure = Figure(figsize=(9.0, 0.9 + 0.55 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for row, (theirs, ours) in enumerate(rows):
        scores = [score for run in groups[ours] if (score := run.summary.best_episode) is not None]
        colour, _, marker = METHODS[ours].style
        heights = row + 0.2 * np.sin(2.4 * np.arange(len(scores)))
        axes.plot(scores, heights, marker=marker, color=colour, markersize=4, markeredgewidth=0.9, **HOLLOW)
        axes.plot(np.mean(scores), row, marker=marker, color=colour, markersize=10, markeredgecolor="black")
        axes.plot(PUBLISHED[theirs].best, row, "x", color="black", markersize=9, markeredgewidth=2)
        for value in (PUBLISHED[theirs].best, float(np.mean(scores))):
            axes.annotate(
                number(value), (value, row), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
    idle = anchor_returns(runs[0].spec.target)[anchors.WORST]
    axes.axvline(idle, color="0.45", linestyle=":", linewidth=1.2, zorder=0)
    scale_returns(axes, "x")
    axes.set_xlabel("best training episode", fontsize=9)
    tidy(axes, "x")
    _label_rows(axes, [theirs for theirs, _ in rows])
    return figure


def _draw_interval(axes: Axes, name: str, scores: Sequence[float], place: float, along: str = "x") -> None:
    """A point with its interval at a row, or with `along="y"` at a column."""
    estimate = iqm(scores, np.random.default_rng(0))
    colour, _, marker = METHODS[name].style
    point, ends = (estimate.point, place), ([estimate.low, estimate.high], [place, place])
    if along == "y":
        point, ends = (place, estimate.point), ([place, place], [estimate.low, estimate.high])
    if len(scores) >= FEWEST_SEEDS:
        axes.plot(*ends, color=colour, linewidth=2.6, solid_capstyle="butt", zorder=2)
    axes.plot(*point, marker=marker, color=colour, markersize=7, zorder=3, **EDGED)


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _size_range(groups: dict[str, list[Run]], names: Sequence[str]) -> str:
    numbers = sorted({groups[name][0].result.numbers_adapted for name in names})
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,}–{numbers[-1]:,}"
