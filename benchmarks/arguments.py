"""What the command lines have in common: types of arguments that refuse before anything is run."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.protocol.spec import EPISODE_STEPS, FIRST_REPORTING_SEED
from nb_evaluation.runs.cluster import reach


def count(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def output_file(text: str) -> Path:
    """A file that can be written at the end: its folder exists.

    Raises:
        argparse.ArgumentTypeError: the folder does not exist, or the path is a folder itself.
    """
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, got {text!r}")
    return path


def cluster(text: str) -> str:
    """The address of a Ray cluster that answers.

    Raises:
        argparse.ArgumentTypeError: none answers there, or Ray is not installed.
    """
    try:
        reach(text)
    except (ValueError, OSError, ImportError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def add_methods(
    parser: argparse.ArgumentParser, choices: Collection[str], default: Sequence[str], what: str = "what to compare"
) -> None:
    """Add `--methods`."""
    help_text = f"{what} (default: {' '.join(default)})"
    parser.add_argument(
        "--methods", nargs="+", choices=choices, default=default, metavar="METHOD", help=help_text
    )  # fmt: skip


def add_budget(parser: argparse.ArgumentParser, option: str, default: int, what: str) -> None:
    """Add an option that takes a number of episodes."""
    help_text = f"{what}, in episodes of {EPISODE_STEPS:,} physics steps (default: {default})"
    parser.add_argument(option, type=count, default=default, metavar="N", help=help_text)


def add_seeds(parser: argparse.ArgumentParser, default: int) -> None:
    """Add `--seeds`, the number of seeds from the first reporting one."""
    help_text = f"number of seeds, from {FIRST_REPORTING_SEED} up; those below are for tuning (default: {default})"
    parser.add_argument("--seeds", type=count, default=default, metavar="N", help=help_text)


def reporting_seeds(number: int) -> range:
    """So many seeds, from the first reporting one."""
    return range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + number)


def add_workers(parser: argparse.ArgumentParser, default: int = 2) -> None:
    """Add `--workers` and `--ray`, which say how many runs go on at a time, and where."""
    help_text = f"runs at a time, one thread each (default: {default})"
    parser.add_argument("--workers", type=count, default=default, metavar="N", help=help_text)
    help_text = "send the runs to the Ray cluster at HOST:PORT, ray://HOST:PORT or auto (default: run them here)"
    parser.add_argument("--ray", type=cluster, metavar="ADDRESS", help=help_text)
