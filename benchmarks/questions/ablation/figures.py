"""What each part of NB Pro is worth, as intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.methods import METHODS
from benchmarks.protocol.run import Run
from benchmarks.questions.ablation.scores import WHOLE, final_difference, pairs_by_variant, percent_change, printed
from nb_evaluation.report.style import Picture, scale_differences, tidy
from nb_evaluation.report.verdict import listed
from nb_evaluation.report.wording import FEWEST_SEEDS
from nb_evaluation.stats.estimates import Estimate


def ablation_pictures(runs: Sequence[Run]) -> list[Picture]:
    """One picture, or none where there is nothing to compare."""
    variants = list(pairs_by_variant(runs))
    if not variants:
        return []
    return [
        Picture(
            "NB Pro with one thing changed",
            f"Two panels with a row for each of {listed(variants)}: change of the paper's metric against {WHOLE} in per"
            " cent, and difference of the final return; points with intervals, left of 0 where the variant is worse."
            f"{' Crosses mark what the paper printed.' if printed(runs) else ''}",
            f"Left of 0 the variant is worse than `{WHOLE}`, seed by seed. Points: mean (paper's metric) and"
            " interquartile mean (final return) of the differences; bars: 95 % intervals."
            f"{' Crosses: as printed.' if printed(runs) else ''} The axes are even up to ±10 and logarithmic beyond.",
            draw_ablation(runs),
            "ablation",
        )
    ]


def draw_ablation(runs: Sequence[Run]) -> Figure:
    """A row for each variant, a panel for each measure."""
    variants, published = pairs_by_variant(runs), printed(runs)
    figure = Figure(figsize=(10.0, 1.2 + 0.42 * len(variants)), layout="constrained")
    metric, final = figure.subplots(1, 2, sharey=True)
    for row, (name, pairs) in enumerate(variants.items()):
        num_seeds = len(pairs)
        _draw_row(metric, name, row, percent_change(pairs).mean, num_seeds)
        _draw_row(final, name, row, final_difference(pairs), num_seeds)
        if name in published:
            metric.plot(published[name], row - 0.28, "x", color="black", markersize=7, markeredgewidth=1.8)
    for axes, label in (
        (metric, f"change of the paper's metric against {WHOLE} (%)"),
        (final, f"difference of the final return to {WHOLE}"),
    ):
        axes.axvline(0.0, color="0.4", linewidth=1.0, zorder=1)
        scale_differences(axes)
        axes.set_xlabel(label, fontsize=9)
        tidy(axes, "x")
    metric.set_yticks(range(len(variants)), list(variants), fontsize=9)
    metric.set_ylim(len(variants) - 0.4, -0.6)
    return figure


def _draw_row(axes: Axes, name: str, row: int, estimate: Estimate, num_seeds: int) -> None:
    colour = METHODS[name].style.colour
    if num_seeds >= FEWEST_SEEDS:
        axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=2.6, solid_capstyle="butt")
    axes.plot(estimate.point, row, "o", color=colour, markersize=7, markeredgecolor="black", zorder=3)
