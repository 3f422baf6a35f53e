"""The k's before and after a transfer in which k alone adapts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.methods import METHODS, by_method
from benchmarks.protocol.run import Run
from nb_evaluation.report.style import Picture, tidy
from nb_evaluation.report.verdict import listed
from nb_evaluation.stats.estimates import interquartile_mean


def pictures_of_k(runs: Sequence[Run]) -> list[Picture]:
    """One picture, or none where no method adapts k alone."""
    groups = _with_k(runs)
    if not groups:
        return []
    return [
        Picture(
            "The k's before and after the transfer",
            f"For {listed(list(groups))}: each k of each seed before and after the transfer, joined by a line, and the"
            " interquartile means.",
            "Every k of every seed, before the transfer (left end of a stroke) and after it (right end); large marks"
            " are interquartile means, open before and filled after. The run files hold k at these two times only, not"
            " in between. Grey: k = 0.25, where all start.",
            draw_k(groups),
        )
    ]


def draw_k(groups: dict[str, list[Run]]) -> Figure:
    """A panel for each method, a column for each k."""
    widths = [len((group[0].result.k_sets or [[]])[0]) for group in groups.values()]
    figure = Figure(figsize=(2.2 + 0.62 * sum(widths), 3.6), layout="constrained")
    grid = figure.subplots(1, len(groups), sharey=True, width_ratios=widths, squeeze=False)[0]
    for axes, (name, group) in zip(grid, groups.items(), strict=True):
        sets = np.array([run.result.k_sets for run in group])  # (num_runs, 2, num_k)
        colour, _, marker = METHODS[name].style
        for i in range(sets.shape[2]):
            before, after = sets[:, 0, i], sets[:, 1, i]
            axes.plot([i - 0.22, i + 0.22], [before, after], color=colour, linewidth=0.7, alpha=0.5)
            style = {"marker": marker, "linestyle": "none", "markeredgecolor": "black", "markersize": 7}
            axes.plot(i - 0.22, interquartile_mean(before), color=colour, markerfacecolor="white", **style)
            axes.plot(i + 0.22, interquartile_mean(after), color=colour, **style)
        axes.axhline(0.25, color="0.6", linewidth=1.0, zorder=0)
        axes.set_xticks(range(sets.shape[2]), _labels(group[0], sets.shape[2]), fontsize=8, rotation=90)
        axes.set_xlim(-0.6, sets.shape[2] - 0.4)
        axes.set_title(name, loc="left", fontsize=10)
        tidy(axes)
    grid[0].set_ylabel("k", fontsize=10)
    return figure


def _with_k(runs: Sequence[Run]) -> dict[str, list[Run]]:
    return {name: group for name, group in by_method(runs).items() if all(run.result.k_sets for run in group)}


def _labels(run: Run, num_k: int) -> list[str]:
    """Each layer's k, followed by those of its blocks: the order of a `Battery`."""
    layers = len(run.spec.settings.net_arch)
    if num_k % layers:
        return [str(i + 1) for i in range(num_k)]
    names = ["layer {}", *(f"block {{}}.{i}" for i in range(1, num_k // layers))]
    return [name.format(layer) for layer in range(1, layers + 1) for name in names]
