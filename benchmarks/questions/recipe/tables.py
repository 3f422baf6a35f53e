"""The recipe's tables and figure, made from its rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.protocol.anchors import CONTROLLERS, PUBLISHED, anchor_returns
from benchmarks.questions.recipe.rows import ROWS, SOURCE_A, TARGET_A
from nb_evaluation.report.style import Picture
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Tone, Verdict
from nb_evaluation.report.wording import interval, number
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

Row = Any
"""A finished run of a row."""


def by_row(runs: Sequence[Row]) -> dict[str, Row]:
    """The rows by name, in the order of the table."""
    found = {run.spec.method: run for run in runs}
    return {name: found[name] for name in ROWS if name in found}


def recipe_tables(runs: Sequence[Row]) -> list[Table]:
    """Returns of every row, and what the rows differ by."""
    rows = by_row(runs)
    return [table for table in (results_table(rows), differences(rows)) if table.rows]


def results_table(rows: Mapping[str, Row]) -> Table:
    """Deterministic returns over the fixed starts, and the paper's metric where it applies."""
    columns = [
        "row", "seeds", "A = 1.0 before", "zero-shot at 1.8", "final at 1.8, first 5 seeds", "final at 1.8 [95 % CI]",
        "A = 1.0 afterwards", "best training episode at 1.8",
    ]  # fmt: skip
    cells = []
    for name, row in rows.items():
        result = row.result
        own = estimate(result.best_episode) if explores_itself(row) else ""
        cells.append([
            name, str(len(result.final)), point(result.source_before), point(result.zero_shot),
            estimate(result.final[:5]), estimate(result.final), point(result.source_after), own,
        ])  # fmt: skip
    for name, published in PUBLISHED.items():
        cells.append([f"*published: {name}*", "5", *[""] * 5, number(published.best)])
    references = [anchor_returns({"A": A}) for A in (SOURCE_A, TARGET_A)]
    others = [(f"*{name}*", "", [reference[name] for reference in references]) for name in CONTROLLERS]
    others += [("*PPO expert*", "1", [*row.result.expert.values()]) for row in rows.values() if row.result.expert]
    for name, seeds, returns in others:
        source, target = (number(each) for each in returns)
        cells.append([name, seeds, source, target, target, target, source, ""])
    return Table("Deterministic returns over the fixed starts", columns, cells)


def explores_itself(row: Row) -> bool:
    """Whether the training episodes are the policy's own: where an expert acts in them, their returns are not."""
    return row.result.best_episode is not None and row.spec.settings["expert"] is None


def recipe_answer(runs: Sequence[Row]) -> Verdict | None:
    """What training as released gains, and what gates as printed; None without the rows for both."""
    rows = by_row(runs)
    pairs = (("as-released nb-pro", "untrained nb-pro"), ("as-printed nb-pro", "as-printed, no gates"))
    if not rows.keys() >= {name for pair in pairs for name in pair}:
        return None
    trained, gates = (
        paired_difference(*_pairs(rows, x, "final", y, "final"), np.random.default_rng(0)) for x, y in pairs
    )
    first = "training gains" if trained.low > 0.0 else "training gains nothing that can be distinguished from chance"
    second = "gain" if gates.low > 0.0 else "lose" if gates.high < 0.0 else "make no difference that shows"
    tone: Tone = "better" if gates.low > 0.0 else "worse" if gates.high < 0.0 else "same"
    return Verdict(f"As released, {first}; as printed, gates {second}.", tone)


def _pairs(rows: Mapping[str, Row], x: str, x_key: str, y: str, y_key: str) -> tuple[list[float], list[float]]:
    """Scores of two rows on the seeds that both have; every row begins with the same seeds."""
    both = min(len(rows[name].result.final) for name in (x, y))
    return getattr(rows[x].result, x_key)[:both], getattr(rows[y].result, y_key)[:both]


def differences(rows: Mapping[str, Row]) -> Table:
    """What training gains over the same networks untrained, and the rows against each other, seed by seed."""
    columns = [
        "x − y at A = 1.8", "seeds", "paired difference [95 % CI]", "probability that x is better [95 % CI]"
    ]  # fmt: skip
    cells = []
    for x, x_key, y, y_key in COMPARISONS:
        if x in rows and y in rows:
            a, b = _pairs(rows, x, x_key, y, y_key)
            gain = paired_difference(a, b, np.random.default_rng(0))
            better = probability_of_improvement(a, b, np.random.default_rng(0))
            what = f"{x}{SCORES[x_key]} − {y}{SCORES[y_key]}"
            cells.append([what, str(len(a)), interval(gain, len(a), signed=True), interval(better, len(a), digits=2)])
    return Table("The rows against each other, seed by seed", columns, cells)


def estimate(scores: Sequence[float]) -> str:
    """Interquartile mean with its 95 % bootstrap interval."""
    return interval(iqm(scores, np.random.default_rng(0)), len(scores))


def point(scores: Sequence[float]) -> str:
    """Interquartile mean alone."""
    return number(float(interquartile_mean(scores)))


def recipe_pictures(runs: Sequence[Row]) -> list[Picture]:
    """One figure."""
    alt = "A row of dots for each row of the table and each published one, a dot for each seed's return at A = 1.8."
    note = "A dot is a seed, a bar the interquartile mean; blue: deterministic, fixed starts; green: training episodes."
    return [Picture("Every seed of every row", alt, note, draw_seeds(by_row(runs)), "recipe")]


def draw_seeds(rows: Mapping[str, Row]) -> Figure:
    """Every seed of every row on one axis, the published seeds among them."""
    groups: list[tuple[str, Sequence[float], str]] = [
        (f"published {name}, best episode", scores, "#D55E00") for name, scores in PUBLISHED_SEEDS.items()
    ]
    for name, row in rows.items():
        if explores_itself(row):
            groups.append((f"{name}, best episode", row.result.best_episode, "#009E73"))
    groups += [(name, row.result.final, "#0072B2") for name, row in rows.items()]
    figure = Figure(figsize=(9.0, 1.2 + 0.27 * len(groups)), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for height, (_, scores, colour) in enumerate(groups):
        jitter = height + rng.uniform(-0.22, 0.22, len(scores))
        axes.scatter(scores, jitter, s=12, color=colour, alpha=0.5, linewidths=0)
        axes.plot([float(interquartile_mean(scores))] * 2, [height - 0.35, height + 0.35], color="black", linewidth=1.4)
    for name, style in (("no torque", ":"), ("drive cancelled + PD", "--")):
        axes.axvline(anchor_returns({"A": TARGET_A})[name], color="0.45", linestyle=style, linewidth=1.0, label=name)
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
    axes.set_xlabel("return at A = 1.8")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=8)
    return figure
