"""The main job: pretrain on one pendulum, transfer to another, and compare the ways of doing it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as ScreenTable

from benchmarks.anchors import reference_returns
from benchmarks.arguments import add_seeds, add_workers, count
from benchmarks.figures import save_before_and_after, save_curves
from benchmarks.methods import METHODS, specify
from benchmarks.records import Run, read_runs, write_atomically, write_job
from benchmarks.report import (
    MAIN_COLUMNS,
    Table,
    by_method,
    caption,
    comparison_table,
    number,
    results_table,
)
from benchmarks.report.transfer_page import markdown_page
from benchmarks.runner import Outcome, run_all
from benchmarks.settings import ALGORITHMS
from benchmarks.spec import FIRST_REPORTING_SEED, RunSpec, parse_assignments

DEFAULT_METHODS = ("nb", "nb-pro", "nb-pro-k", "fine-tune", "scratch")
DEFAULT_OUT = Path("benchmarks/out/transfer")

DESCRIPTION = """\
Train policies on one driven pendulum (the source), move them to another (the
target) by several methods, and compare what each reaches on a fixed budget.
Writes one JSON file per run, and table.md, curves.png and transfer.gif made
from them. A job that was interrupted goes on where it stopped when it is
started again with the same options.

methods:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help`.

    Returns:
        The exit status: 0, 1 if a run failed, 130 if interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console()
    try:
        specs = _specifications(options)
        for context in (specs[0].middle, specs[0].target):
            reference_returns(context)  # the report will need them: better known now than after hours of training
        finished = read_runs(options.out, specs[0].shared)
        options.out.mkdir(parents=True, exist_ok=True)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out {options.out} cannot be a folder: {error.strerror}")
    wanted = {spec.name: finished.get(spec.name) for spec in specs}
    waiting = [spec for spec in specs if wanted[spec.name] is None]
    try:
        outcomes = _run(waiting, len(specs), options, console)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where this one stopped.")
        return 130
    wanted |= {outcome.spec.name: outcome.run for outcome in outcomes}
    failures = [outcome for outcome in outcomes if outcome.failure]
    runs = [run for run in wanted.values() if run is not None]
    if runs:
        _report(runs, options.out, shlex.join(["python", "-m", "benchmarks.transfer", *arguments]), console)
    for outcome in failures:
        console.print(f"\n[bold red]{outcome.spec.name} failed:[/]")
        console.print(outcome.failure, markup=False, highlight=False)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    methods = "\n".join(f"  {name:<12}{method.summary}" for name, method in METHODS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer",
        description=DESCRIPTION + methods,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--methods", nargs="+", choices=METHODS, default=DEFAULT_METHODS, metavar="METHOD",
        help=f"what to compare (default: {' '.join(DEFAULT_METHODS)})")  # fmt: skip
    add("--algo", choices=ALGORITHMS, default="ppo", help="SB3 algorithm that trains (default: ppo)")
    add_seeds(parser, default=5)
    add("--pretrain-episodes", type=count, default=50, metavar="N",
        help="budget on the source, in episodes of 1,000 physics steps (default: 50)")  # fmt: skip
    add("--transfer-episodes", type=count, default=100, metavar="N", help="budget on the target (default: 100)")
    add("--source", nargs="+", default=["A=1.0"], metavar="NAME=VALUE",
        help="parameters of the source pendulum, numbers or ranges as in A=1.0:1.5 (default: A=1.0)")  # fmt: skip
    add("--target", nargs="+", default=["A=1.8"], metavar="NAME=VALUE",
        help="parameters of the target pendulum, as in A=1.8 torque_gain=0.5 (default: A=1.8)")  # fmt: skip
    add_workers(parser)
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FOLDER", help=f"output folder (default: {DEFAULT_OUT})")
    return parser


def _specifications(options: argparse.Namespace) -> list[RunSpec]:
    """One specification for each seed and method; seed by seed, so that an interrupted job has whole comparisons.

    Raises:
        TypeError: a context names something that the pendulum does not have.
        ValueError: a context or a budget is not accepted.
    """
    source, target = parse_assignments(options.source), parse_assignments(options.target)
    return [
        specify(
            method,
            seed=seed,
            algo=options.algo,
            source=source,
            target=target,
            pretrain_episodes=options.pretrain_episodes,
            transfer_episodes=options.transfer_episodes,
        )
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds)
        for method in dict.fromkeys(options.methods)
    ]


def _run(waiting: Sequence[RunSpec], total: int, options: argparse.Namespace, console: Console) -> list[Outcome]:
    """Run what is not finished yet, and show how it goes: a line for each run, a bar with the time left below."""
    outcomes = []
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        "runs ·",
        TimeElapsedColumn(),
        "elapsed ·",
        TimeRemainingColumn(),
        "left",
    )
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        bar = progress.add_task("transfer", total=total, completed=total - len(waiting))
        for outcome in run_all(waiting, options.out, workers=options.workers, ray=options.ray):
            outcomes.append(outcome)
            progress.console.print(_line(outcome), highlight=False)
            progress.advance(bar)
    return outcomes


def _line(outcome: Outcome) -> str:
    label = f"{outcome.spec.method:<10} seed {outcome.spec.seed}"
    if outcome.run is None:
        return f"{label}  [bold red]failed[/]: {(outcome.failure or '').strip().splitlines()[-1]}"
    summary = outcome.run.summary
    return (
        f"{label}  zero-shot {number(summary.zero_shot):>8}   final {number(summary.final):>8}"
        f"   {outcome.run.wall_seconds:5.1f} s"
    )


def _report(runs: Sequence[Run], folder: Path, command: str, console: Console) -> None:
    """Make table and pictures from the runs, and show the table."""
    write_job(folder, "transfer", command)
    write_atomically(folder / "table.md", markdown_page(runs, command).encode())
    save_curves(runs, folder / "curves.png", command)
    save_before_and_after(_showcase(runs), folder / "transfer.gif")
    for table in (results_table(runs).select(MAIN_COLUMNS), comparison_table(runs)):
        if table:
            console.print(_on_screen(table))
    console.print(caption(runs, command), style="dim", highlight=False)
    console.print(f"Written to {folder}: table.md, curves.png, transfer.gif and a JSON file for each run.")


def _showcase(runs: Iterable[Run]) -> Run:
    """The run that the GIF shows: the median one of NB Pro, or else of the first method there is."""
    groups = by_method(runs)
    group = sorted(groups.get("nb-pro") or next(iter(groups.values())), key=lambda run: run.summary.final)
    return group[len(group) // 2]


def _on_screen(table: Table) -> ScreenTable:
    screen = ScreenTable(title=table.title)
    for i, column in enumerate(table.columns):
        screen.add_column(column, justify="right" if i else "left")
    for row in table.rows:
        screen.add_row(*(cell.strip("`*") for cell in row))
    return screen


if __name__ == "__main__":
    sys.exit(main())
