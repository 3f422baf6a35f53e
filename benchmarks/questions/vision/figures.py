"""The figure: accuracy against the numbers that are kept for a shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.questions.vision.methods import METHODS
from benchmarks.questions.vision.tables import SHARE, mean_at, of_set
from nb_evaluation.report.style import Picture, panels_figure, tidy
from nb_evaluation.report.wording import FEWEST_SEEDS
from nb_evaluation.stats.estimates import iqm


def vision_pictures(runs: Sequence[Any]) -> list[Picture]:
    """A figure for each set, with a panel for each number of pictures."""
    return [_picture(runs, name) for name in dict.fromkeys(run.spec.set for run in runs)]


def _picture(runs: Sequence[Any], name: str) -> Picture:
    groups = of_set(runs, name)
    one = next(iter(groups.values()))[0]
    sizes = one.spec.sizes
    figure, grid = panels_figure(len(sizes), 3, lambda columns, rows: (3.6 * columns, 4.2 * rows))
    for axes, size in zip(grid, sizes, strict=True):
        for method, group in groups.items():
            each, style = iqm([mean_at(size)(run) for run in group], np.random.default_rng(0)), METHODS[method].style
            shown = len(group) >= FEWEST_SEEDS
            ends = [[each.point - each.low], [each.high - each.point]] if shown else None
            axes.errorbar(
                max(1, group[0].result.numbers), each.point, ends, color=style.colour, marker=style.marker,
                markersize=5.0, linestyle="none", label=method,
            )  # fmt: skip
        axes.axvline(SHARE * one.result.total, color="0.6", linestyle=":", linewidth=1.0)
        axes.set_xscale("log")
        axes.set_title(f"{size} pictures", loc="left", fontsize=10)
        axes.set_xlabel("numbers kept for a shift")
        tidy(axes)
    grid[0].set_ylabel("accuracy, %, mean over the shifts")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    note = (
        f"Interquartile means over the seeds with 95 % intervals. Dotted: {SHARE:.0%} of the network's numbers;"
        " `source` keeps none, and stands at 1."
    )
    alt = f"Accuracy on shifted pictures against the numbers that are kept, for each of {', '.join(groups)}."
    return Picture(f"{name}: accuracy against numbers kept", alt, note, figure, f"vision_{name}")
