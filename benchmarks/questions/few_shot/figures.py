"""K-shot curves: score over all targets, and return in each, against episodes of adaptation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.methods import METHODS, by_method
from benchmarks.protocol.anchors import BEST, WORST, anchor_returns
from benchmarks.protocol.run import Run
from benchmarks.questions.few_shot.scores import by_target, k_shot, over_targets, scores
from nb_evaluation.report.lines import Line, band, draw_line, draw_lines
from nb_evaluation.report.style import Picture, panels_figure, scale_returns, scale_scores, tidy
from nb_evaluation.report.verdict import listed
from nb_evaluation.stats.estimates import interquartile_mean

FAMILIES: dict[str, tuple[str, ...]] = {
    "all weights and gates": ("nb", "nb-pro"),
    "k alone": ("nb-k", "nb-pro-k", "nb-k-cma", "nb-pro-k-cma"),
    "all weights": ("fine-tune",),
    "from scratch": ("scratch",),
    "MAML": ("maml",),
    "its relatives": ("fomaml", "reptile", "anil"),
}
"""Of each of them the best method is drawn in colour where all methods share a panel."""

PANELS_PER_ROW = 4
OTHERS = "0.78"


def few_shot_pictures(runs: Sequence[Run]) -> list[Picture]:
    """Both figures; the first one only where a method has run all targets."""
    names = ", ".join(by_method(runs))
    targets = list(by_target(runs))
    coloured = highlighted(runs)
    best = {title: [name for name in coloured if name in family] for title, family in FAMILIES.items()}
    pictures = [
        Picture(
            "Return after so many episodes, target by target",
            f"A panel for each of {listed(targets)}: interquartile mean of the deterministic return, on a logarithmic"
            f" axis, against episodes of adaptation. In colour {listed(coloured)}; grey lines for the other methods of"
            f" {names}. The tables hold the values.",
            "Interquartile means; bands: pointwise 95 % intervals. In colour the method of each family with the best"
            " score over all targets, averaged over the episodes:"
            f" {'; '.join(f'{title} `{each[0]}`' for title, each in best.items() if each)}. Grey: all others. Dotted:"
            " no torque; sparsely dotted: drive cancelled + PD.",
            draw_targets(runs),
            "few_shot_targets",
        )
    ]
    if whole := scores(runs):
        first = Picture(
            "Score after so many episodes, all targets together",
            "Interquartile mean of the normalised score over all targets, on an axis that is logarithmic away from 1,"
            f" against episodes of adaptation, a line for each of {', '.join(whole)}, with a band for its interval. The"
            " tables hold the values.",
            "Lines: interquartile means, over the targets and then over the seeds; bands: pointwise 95 % intervals. 0"
            " is no torque, 1 the drive cancelled + PD; the axis is even near 1 and logarithmic away from it.",
            draw_overall(runs),
            "few_shot",
        )
        pictures.insert(0, first)
    return pictures


def draw_overall(runs: Sequence[Run]) -> Figure:
    """Normalised score over all targets, the methods grouped into panels."""
    shots = np.arange(runs[0].spec.transfer_episodes + 1)
    lines = {name: Line(shots, over_targets(each.values())) for name, each in scores(runs).items()}
    figure, grid = draw_lines(lines, METHODS)
    for axes in grid:
        scale_scores(axes)
        axes.set_xlim(0, shots[-1])
    figure.supxlabel("episodes of adaptation", fontsize=10)
    figure.supylabel("normalised score, all targets", fontsize=10)
    return figure


def draw_targets(runs: Sequence[Run]) -> Figure:
    """Return in each target: the best method of each family in colour, the others in grey."""
    groups, coloured = by_target(runs), highlighted(runs)
    figure, grid = panels_figure(
        len(groups), PANELS_PER_ROW, lambda i, j: (max(6.0, 3.1 * i), 0.9 + 2.5 * j), share_y=False
    )  # fmt: skip
    for axes, (target, group) in zip(grid, groups.items(), strict=True):
        _draw_target(axes, group, coloured)
        axes.set_title(target, loc="left", fontsize=10)
    handles = {
        label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }  # fmt: skip
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9,
        handlelength=2.6,
    )  # fmt: skip
    figure.supxlabel("episodes of adaptation", fontsize=10)
    figure.supylabel("deterministic return", fontsize=10)
    return figure


def _draw_target(axes: Axes, group: Sequence[Run], coloured: Sequence[str]) -> None:
    shots = np.arange(group[0].spec.transfer_episodes + 1)
    curves = {name: np.array([k_shot(run) for run in each]) for name, each in by_method(group).items()}
    for name, each in curves.items():
        if name in coloured:
            draw_line(axes, name, Line(shots, each), band(each), METHODS[name].style)
        else:
            axes.plot(shots, interquartile_mean(each, axis=0), color=OTHERS, linewidth=0.9, zorder=1)
    references = anchor_returns(group[0].spec.target)
    for name, dashes in ((WORST, ":"), (BEST, (0, (1, 3)))):
        axes.axhline(references[name], color="0.35", linestyle=dashes, linewidth=1.1)
    scale_returns(axes)
    axes.set_xlim(0, shots[-1])
    axes.tick_params(labelsize=8)
    tidy(axes)


def highlighted(runs: Sequence[Run]) -> list[str]:
    """The best method of each of `FAMILIES`, by its score over the targets, averaged over seeds and episodes.

    A method that lacks targets has no such score, and stands for its family only if no other does.
    """
    means = {name: float(over_targets(each.values()).mean()) for name, each in scores(runs).items()}
    present = list(by_method(runs))
    best = []
    for family in FAMILIES.values():
        candidates = [name for name in family if name in present]
        if candidates:
            best.append(max(candidates, key=lambda name: means.get(name, -np.inf)))
    return [name for name in METHODS if name in best]
