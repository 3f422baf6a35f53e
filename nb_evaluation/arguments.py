"""Options that mean one thing in every command, and types of arguments that refuse before anything is run."""

from __future__ import annotations

import argparse
import ast
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nb_evaluation.files import check_writable
from nb_evaluation.runs.cluster import reach
from nb_evaluation.runs.specification import FIRST_REPORTING_SEED


def make_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser of a command's arguments whose help shows the description as it is written."""
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=command, description=description, formatter_class=form)


def count(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: The text is none.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def cluster(text: str) -> str:
    """The address of a Ray cluster that answers.

    Raises:
        argparse.ArgumentTypeError: No cluster answers there, or Ray is not installed.
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


class _Number(argparse.Action):
    """A single number where older commands took a list of seeds."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if len(values) > 1:
            given = " ".join(map(str, values))
            parser.error(f"{option} {given} is a list, as older commands took it: give the number of seeds, as in "
                         f"{option} {len(values)}")  # fmt: skip
        setattr(namespace, self.dest, values[0])


def add_seeds(parser: argparse.ArgumentParser, default: int, what: str = "") -> None:
    """Add `--seeds`, the number of seeds from the first reporting one."""
    what = what or f"number of seeds, from {FIRST_REPORTING_SEED} up; those below are for tuning"
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=count,
        action=_Number,
        default=default,
        metavar="N",
        help=f"{what} (default: {default})",
    )


def reporting_seeds(number: int) -> range:
    """The first reporting seeds, as many as that."""
    return range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + number)


def add_workers(parser: argparse.ArgumentParser, default: int = 2) -> None:
    """Add `--workers` and `--ray`, which say how many runs go on at a time, and where."""
    help_text = f"runs at a time, one thread each (default: {default})"
    parser.add_argument("--workers", type=count, default=default, metavar="N", help=help_text)
    help_text = "send the runs to the Ray cluster at HOST:PORT, ray://HOST:PORT or auto (default: run them here)"
    parser.add_argument("--ray", type=cluster, metavar="ADDRESS", help=help_text)


def add_out(parser: argparse.ArgumentParser, default: Path) -> None:
    """Add `--out`, the folder of the results; older names of it get an error that names this one."""
    help_text = f"output folder (default: {default})"
    parser.add_argument("--out", type=Path, default=default, metavar="FOLDER", help=help_text)
    refuse(parser, {"--runs": "--out FOLDER", "--json": "--out FOLDER"})


def make_out(parser: argparse.ArgumentParser, folder: Path) -> None:
    """Make the output folder, and end the command where it cannot be had or takes no files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except OSError as error:
        what = "be a folder" if isinstance(error, (FileExistsError, NotADirectoryError)) else "be written to"
        parser.error(f"--out {folder} cannot {what}: {error.strerror}")


def refuse(parser: argparse.ArgumentParser, options: Mapping[str, str]) -> None:
    """Refuse options of older commands by naming what has taken their place."""
    for option, instead in options.items():

        def old(text: str, instead: str = instead) -> str:
            raise argparse.ArgumentTypeError(f"is not known any more: write {instead}")

        parser.add_argument(option, nargs="?", const="", type=old, help=argparse.SUPPRESS)


def parse_assignments(assignments: Iterable[str]) -> dict[str, float | tuple[float, float]]:
    """Read `["A=1.8", "torque_gain=-1", "b=0.1:0.3"]`, as given on a command line.

    Raises:
        ValueError: An entry is neither NAME=NUMBER nor NAME=LOW:HIGH, or a name comes twice.
    """
    context: dict[str, float | tuple[float, float]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        try:
            numbers = [float(part) for part in text.split(":")]
        except ValueError:
            numbers = []
        if not (name and equals and len(numbers) in (1, 2) and all(map(math.isfinite, numbers))):
            raise ValueError(
                f"a context is written NAME=NUMBER, as in A=1.8, or NAME=LOW:HIGH for a range; got {assignment!r}"
            )
        value = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
        if name in context:
            raise ValueError(f"{name} is given twice: {context[name]} and {value}")
        context[name] = value
    return context


def parse_keywords(texts: Iterable[str]) -> dict[str, Any]:
    """Read `["gravity=-4", "enable_wind=True", "xml_file=ant.xml"]`: Python's literals, and else text.

    Raises:
        ValueError: An entry is not NAME=VALUE, or a name comes twice.
    """
    keywords: dict[str, Any] = {}
    for given in texts:
        name, equals, text = given.partition("=")
        if not (name.isidentifier() and equals and text):
            raise ValueError(f"a keyword is written NAME=VALUE, as in gravity=-4; got {given!r}")
        if name in keywords:
            raise ValueError(f"{name} is given twice: {keywords[name]!r} and {text}")
        try:
            keywords[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            keywords[name] = text
    return keywords
