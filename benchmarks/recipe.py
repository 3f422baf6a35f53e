"""The paper's own recipe, measured: as released, as printed, and with only the k's adapting, beside MAML and experts.

Makes one JSON file for each row of the table that is not there yet, then the table and the figure from the files.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks import recipe_maml
from benchmarks.anchors import CONTROLLERS, PUBLISHED, reference_returns
from benchmarks.arguments import count
from benchmarks.recipe_runs import (
    BENCHMARK_CHANNELS,
    EPISODES_PER_ROUND,
    PAPER_CHANNELS,
    PHASES,
    SOURCE_A,
    TARGET_A,
    Variant,
    evaluate,
    run,
    train_sb3_experts,
)
from benchmarks.records import write_atomically, write_measurement
from benchmarks.report import interval, number
from benchmarks.spec import FIRST_REPORTING_SEED
from benchmarks.statistics import interquartile_mean, iqm, paired_difference, probability_of_improvement

DEFAULT_OUT = Path("benchmarks/results/recipe")

AS_RELEASED = Variant(
    expert=None,
    observe=PAPER_CHANNELS,
    aggregate=False,
    updates=1,
    batch_size=None,
    gamma=None,
    # The release averages the k-target loss over the two layers, where the paper prints a sum.
    trainer={"learn_k_target": True, "clamp_gate": True, "k_target_weight": 0.05},
)
AS_PRINTED = Variant()

GROUPS: tuple[dict[str, Variant], ...] = (
    {"untrained nb-pro": replace(AS_RELEASED, updates=0)},
    {"untrained nb": replace(AS_RELEASED, updates=0, hierarchical=False)},
    {"as-released nb-pro": AS_RELEASED},
    {"as-released nb": replace(AS_RELEASED, hierarchical=False)},
    {"as-printed nb-pro, one update": replace(AS_PRINTED, aggregate=False, updates=1, batch_size=None)},
    {"as-printed nb-pro": AS_PRINTED, "as-printed nb-pro-k": replace(AS_PRINTED, adapt="gates")},
)
CONTROLS: tuple[dict[str, Variant], ...] = (
    {
        "as-printed nb": replace(AS_PRINTED, hierarchical=False),
        "as-printed nb-k": replace(AS_PRINTED, hierarchical=False, adapt="gates"),
    },
    {"as-printed, no gates": replace(AS_PRINTED, gated=False)},
    {"as-printed nb-pro, PD expert, θ and θ̇ only": replace(AS_PRINTED, expert="pd", observe=PAPER_CHANNELS)},
    {"as-printed nb-pro, PPO expert": replace(AS_PRINTED, expert="sb3")},
)
"""Rows by name; those of a group share their pretraining."""

CONTROL_SEEDS = 5
"""Controls are made for the first seeds only: the published number of them, and no more."""

MAML = "supervised MAML"
ROWS = [*(name for group in GROUPS for name in group), MAML, *(name for group in CONTROLS for name in group)]

PUBLISHED_SEEDS: dict[str, tuple[float, ...]] = {
    "MAML": (-3431.3, -3681.6, -8232.6, -6396.7, -3604.0),
    "NB": (-2201.4, -4864.7, -2208.5, -2197.5, -2284.0),
    "NB Pro": (-2878.3, -2387.9, -2714.1, -2227.0, -3536.4),
}
"""Best training episode at A = 1.8 for seeds 0 to 4, from the results file that the paper's authors released."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is missing and report; see `--help`."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--seeds", type=count, default=30, metavar="N", help=f"seeds from {FIRST_REPORTING_SEED} up (default: 30)")
    add("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=f"of: {'; '.join(ROWS)} (default: all)")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FOLDER", help=f"output folder (default: {DEFAULT_OUT})")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=160)
    make_rows(options.rows, range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds), options.out, console)
    rows = read_rows(options.out)
    command = shlex.join(["python", "-m", "benchmarks.recipe", *arguments])
    page = f"{results_table(rows)}\n{differences(rows)}\nMade by `{command}`.\n"
    write_atomically(options.out / "table.md", page.encode())
    save_figure(rows, options.out / "recipe.png")
    console.print(page, markup=False, highlight=False)


def row_file(name: str) -> str:
    """The file of a row."""
    kept = "".join(c if c.isalnum() or c in "- " else "" for c in name.replace("θ̇", "rate").replace("θ", "angle"))
    return f"{kept.replace(' ', '-')}.json"


def make_rows(names: Sequence[str], seeds: Sequence[int], out: Path, console: Console) -> None:
    """Make the rows that have no file, or one of another specification.

    Args:
        names: keys of `ROWS`.
        seeds: one policy each.
        out: folder of the files.
        console: where progress is shown.
    """
    protocol = {"phases": PHASES, "episodes_per_round": EPISODES_PER_ROUND, "seeds": list(seeds)}
    specifications = {MAML: _json({**asdict(recipe_maml.Settings()), **protocol})}
    for groups, own in ((GROUPS, protocol), (CONTROLS, {**protocol, "seeds": list(seeds[:CONTROL_SEEDS])})):
        specifications |= {name: _json({**asdict(v), **own}) for group in groups for name, v in group.items()}
    made = {row["row"] for row in read_rows(out).values() if row["specification"] == specifications[row["row"]]}
    models: dict[float, Any] = {}
    started = time.process_time()

    def on_row(name: str, results: Mapping[str, Any]) -> None:
        nonlocal started
        seconds, started = time.process_time() - started, time.process_time()
        if models:
            expert = {
                str(A): float(evaluate(model, BENCHMARK_CHANNELS, 1)[0, i])
                for i, (A, model) in enumerate(models.items())
            }
            results = {**results, "expert": expert}
        specification = specifications[name]
        write_measurement(out / row_file(name), row=name, specification=specification, cpu_seconds=seconds, **results)
        console.print(f"{name}: final {point(results['final'])}, {seconds:.0f} s")

    if MAML in names and MAML not in made:
        recipe_maml.run(seeds, recipe_maml.Settings(), lambda results: on_row(MAML, results))
    for group in (*GROUPS, *CONTROLS):
        missing = {name: variant for name, variant in group.items() if name in names and name not in made}
        if missing:
            models = train_sb3_experts() if any(v.expert == "sb3" for v in missing.values()) else {}
            run(missing, specifications[next(iter(missing))]["seeds"], models, on_row)


def read_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows in a folder by name, in the table's order."""
    found = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    return {row["row"]: row for row in sorted((r for r in found if "row" in r), key=lambda r: ROWS.index(r["row"]))}


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
    pairs = [(f"{kind}", "final", f"untrained {kind.split()[1]}", "final") for kind in rows if "released" in kind]
    pairs += [(kind, "best_episode", y, "best_episode") for kind, _, y, _ in pairs]
    main = "as-printed nb-pro"
    pairs += [
        (main, "final", y, "final") for y in rows if y in (f"{main}-k", "as-printed nb", "as-printed, no gates", MAML)
    ]
    pairs += [(f"as-printed {kind}-k", "final", f"as-printed {kind}-k", "zero_shot") for kind in ("nb-pro", "nb")]
    for x, x_key, y, y_key in pairs:
        if x in rows and y in rows:
            both = min(len(rows[name]["final"]) for name in (x, y))  # every row begins with the same seeds
            a, b = rows[x][x_key][:both], rows[y][y_key][:both]
            gain = paired_difference(a, b, np.random.default_rng(0))
            better = probability_of_improvement(a, b, np.random.default_rng(0))
            what = {"final": "", "best_episode": ", best training episode", "zero_shot": ", zero-shot"}
            lines.append(
                f"| {x}{what[x_key]} − {y}{what[y_key]} | {both} | {interval(gain, len(a), signed=True)} |"
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


def _json(data: Any) -> Any:
    return json.loads(json.dumps(data))


if __name__ == "__main__":
    main()
