"""The paper's own recipe, measured: as released, as printed, and with only the k's adapting, beside MAML and experts.

Makes one JSON file for each row of the table that is not there yet, then the table and the figure from the files.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.questions.recipe import maml as recipe_maml
from benchmarks.questions.recipe.runs import (
    BENCHMARK_CHANNELS,
    EPISODES_PER_ROUND,
    PAPER_CHANNELS,
    PHASES,
    Variant,
    evaluate,
    run,
    train_sb3_experts,
)
from benchmarks.questions.recipe.tables import differences, point, read_rows, results_table, save_figure
from nb_evaluation.arguments import count
from nb_evaluation.files import check_writable, write_atomically
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.runs.provenance import write_measurement
from nb_evaluation.runs.specification import FIRST_REPORTING_SEED

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
"""Controls and MAML are made for the first seeds only: the published number of them, and no more."""

MAML = "supervised MAML"
ROWS = [*(name for group in GROUPS for name in group), MAML, *(name for group in CONTROLS for name in group)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is missing and report; see `--help`."""
    any_terminal()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks recipe", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add(
        "--seeds",
        type=count,
        default=30,
        metavar="N",
        help=f"seeds from {FIRST_REPORTING_SEED} up (default: 30); a row of other seeds is replaced",
    )
    add("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=f"of: {'; '.join(ROWS)} (default: all)")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FOLDER", help=f"output folder (default: {DEFAULT_OUT})")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        check_writable(options.out)
        read_rows(options.out, ROWS)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    console = make_console()
    make_rows(options.rows, range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds), options.out, console)
    rows = read_rows(options.out, ROWS)
    command = shlex.join(["python", "-m", "benchmarks", "recipe", *arguments])
    page = f"{results_table(rows)}\n{differences(rows)}\nMade by `{command}`.\n"
    write_atomically(options.out / "table.md", page.encode())
    save_figure(rows, options.out / "recipe.png")
    console.print(f"Written to {options.out}: table.md, recipe.png and a JSON file for each row.")


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
    protocol: dict[str, Any] = {"phases": PHASES, "episodes_per_round": EPISODES_PER_ROUND}
    few = {**protocol, "seeds": list(seeds[:CONTROL_SEEDS])}
    specifications: dict[str, Any] = {}
    for groups, shared in ((GROUPS, {**protocol, "seeds": list(seeds)}), (CONTROLS, few)):
        specifications |= {name: _json({**asdict(v), **shared}) for group in groups for name, v in group.items()}
    specifications[MAML] = _json({**asdict(recipe_maml.Settings()), **few})
    made = {row["row"] for row in read_rows(out, ROWS).values() if row["specification"] == specifications[row["row"]]}
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
        recipe_maml.run(few["seeds"], recipe_maml.Settings(), lambda results: on_row(MAML, results))
    for group in (*GROUPS, *CONTROLS):
        missing = {name: variant for name, variant in group.items() if name in names and name not in made}
        if missing:
            models = train_sb3_experts() if any(v.expert == "sb3" for v in missing.values()) else {}
            run(missing, specifications[next(iter(missing))]["seeds"], models, on_row)


def _json(data: Any) -> Any:
    return json.loads(json.dumps(data))


if __name__ == "__main__":
    main()
