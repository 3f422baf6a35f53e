"""The recipe's table and figure, made from the files of its rows alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.protocol.anchors import CONTROLLERS, PUBLISHED, reference_returns
from benchmarks.questions.recipe.runs import SOURCE_A, TARGET_A
from nb_evaluation.files import write_atomically
from nb_evaluation.report.wording import interval, number
from nb_evaluation.seal import check_types, unseal
from nb_evaluation.stats.estimates import interquartile_mean, iqm, paired_difference, probability_of_improvement

PUBLISHED_SEEDS: dict[str, tuple[float, ...]] = {
    "MAML": (-3431.3, -3681.6, -8232.6, -6396.7, -3604.0),
    "NB": (-2201.4, -4864.7, -2208.5, -2197.5, -2284.0),
    "NB Pro": (-2878.3, -2387.9, -2714.1, -2227.0, -3536.4),
}
"""Best training episode at A = 1.8 for seeds 0 to 4, from the results file that the paper's authors released."""

SCORES = {"final": "", "best_episode": ", best training episode", "zero_shot": ", zero-shot"}
COMPARISONS = (
    ("as-released nb-pro", "final", "untrained nb-pro", "final"),
    ("as-released nb-pro", "best_episode", "untrained nb-pro", "best_episode"),
    ("as-released nb", "final", "untrained nb", "final"),
    ("as-released nb", "best_episode", "untrained nb", "best_episode"),
    ("as-printed nb-pro", "final", "as-printed nb-pro-k", "final"),
    ("as-printed nb-pro", "final", "supervised MAML", "final"),
    ("as-printed nb-pro", "final", "as-printed nb", "final"),
    ("as-printed nb-pro", "final", "as-printed, no gates", "final"),
    ("as-printed nb-pro-k", "final", "as-printed nb-pro-k", "zero_shot"),
    ("as-printed nb-k", "final", "as-printed nb-k", "zero_shot"),
)
"""Pairs of rows that are compared seed by seed: row and score of x, row and score of y."""


def read_rows(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows in a folder by name, in the order of ``names``; files of others are passed over.

    Raises:
        ValueError: If a file is damaged.
    """
    rows = [_read_row(path) for path in sorted(folder.glob("*.json"))]
    found = {row.get("row"): row for row in rows}
    return {name: found[name] for name in names if name in found}


def _read_row(path: Path) -> dict[str, Any]:
    try:
        row = unseal(path.read_bytes())
        if "row" in row:
            check_types("specification", row["specification"], dict)
            for key in ("final", "source_before", "source_after", "zero_shot", "best_episode"):
                if key in row or key != "best_episode":
                    check_types(key, row[key], list[float])
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a row's file, or a damaged one ({error!r}): remove it") from error
    return row


def results_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table in Markdown: deterministic returns over the fixed starts, and the paper's metric where it applies."""
    lines = [
        "| row | seeds | A = 1.0 before | zero-shot at 1.8 | final at 1.8, first 5 seeds | final at 1.8 [95 % CI]"
        " | A = 1.0 afterwards | best training episode at 1.8 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        cells = [point(row[key]) for key in ("source_before", "zero_shot")]
        cells += [estimate(row["final"][:5]), estimate(row["final"]), point(row["source_after"])]
        # Where an expert acts in the training episodes, their returns are not the policy's.
        own = row["specification"].get("expert", "labels") is None
        cells.append(estimate(row["best_episode"]) if own else "")
        lines.append(" | ".join([f"| {name}", str(len(row["final"])), *cells]) + " |")
    for name, published in PUBLISHED.items():
        lines.append(f"| *published: {name}* | 5 | | | | | | {number(published.best)} |")
    references = [reference_returns({"A": A}) for A in (SOURCE_A, TARGET_A)]
    for name in CONTROLLERS:
        source, target = (number(reference[name]) for reference in references)
        lines.append(f"| *{name}* | | {source} | {target} | {target} | {target} | {source} | |")
    for row in rows.values():
        if "expert" in row:
            source, target = (number(value) for value in row["expert"].values())
            lines.append(f"| *PPO expert* | 1 | {source} | {target} | {target} | {target} | {source} | |")
    return "\n".join(lines) + "\n"


def differences(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What training gains over the same networks untrained, and the rows against each other, seed by seed."""
    lines = [
        "| x − y at A = 1.8 | seeds | paired difference [95 % CI] | probability that x is better [95 % CI] |",
        "| --- | ---: | ---: | ---: |",
    ]
    for x, x_key, y, y_key in COMPARISONS:
        if x in rows and y in rows:
            both = min(len(rows[name]["final"]) for name in (x, y))  # every row begins with the same seeds
            a, b = rows[x][x_key][:both], rows[y][y_key][:both]
            gain = paired_difference(a, b, np.random.default_rng(0))
            better = probability_of_improvement(a, b, np.random.default_rng(0))
            lines.append(
                f"| {x}{SCORES[x_key]} − {y}{SCORES[y_key]} | {both} | {interval(gain, len(a), signed=True)} |"
                f" {interval(better, len(a), digits=2)} |"
            )
    return "\n".join(lines) + "\n"


def estimate(scores: Sequence[float]) -> str:
    """Interquartile mean with its 95 % bootstrap interval."""
    return interval(iqm(scores, np.random.default_rng(0)), len(scores))


def point(scores: Sequence[float]) -> str:
    """Interquartile mean alone."""
    return number(float(interquartile_mean(scores)))


def save_figure(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Every seed of every row on one axis, the published seeds among them."""
    groups: list[tuple[str, Sequence[float], str]] = [
        (f"published {name}, best episode", scores, "#D55E00") for name, scores in PUBLISHED_SEEDS.items()
    ]
    for name, row in rows.items():
        if row["specification"].get("expert", "labels") is None:
            groups.append((f"{name}, best episode", row["best_episode"], "#009E73"))
    groups += [(name, row["final"], "#0072B2") for name, row in rows.items()]
    figure = Figure(figsize=(9.0, 1.2 + 0.27 * len(groups)), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for height, (_, scores, colour) in enumerate(groups):
        jitter = height + rng.uniform(-0.22, 0.22, len(scores))
        axes.scatter(scores, jitter, s=12, color=colour, alpha=0.5, linewidths=0)
        axes.plot([float(interquartile_mean(scores))] * 2, [height - 0.35, height + 0.35], color="black", linewidth=1.4)
    for name, style in (("no torque", ":"), ("drive cancelled + PD", "--")):
        axes.axvline(reference_returns({"A": TARGET_A})[name], color="0.45", linestyle=style, linewidth=1.0, label=name)
    axes.set_xscale("symlog", linthresh=1.0)
    ticks = [-10_000, -3_000, -1_000, -300, -100, -30, -10, -3]
    axes.set_xticks(ticks, [number(tick, digits=0) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-16_000, -2)
    axes.set_yticks(range(len(groups)), [name for name, *_ in groups], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(
        "return at A = 1.8; a dot is a seed, a bar the interquartile mean; blue: deterministic, fixed starts"
    )
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130)
    write_atomically(path, buffer.getvalue())
