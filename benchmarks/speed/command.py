"""Times environments, learning, k-sets and MAML beside their peers: `python -m benchmarks speed`.

Contenders take turns, and what counts is the ratio within a round.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed import battery, environments, learning, maml
from benchmarks.speed.report import read_speed
from benchmarks.speed.rows import Measurement, Row, write_rows
from benchmarks.speed.tables import make_tables
from nb_evaluation.arguments import add_out, count, refuse
from nb_evaluation.files import check_writable, write_atomically
from nb_evaluation.report.jobs import Job
from nb_evaluation.report.screen import any_terminal, make_console, show_table

DESCRIPTION = """\
Time environments, learning, k-sets and MAML beside their peers. Each part leaves
its samples in FOLDER/PART.json, and all that are there become FOLDER/table.md.
"""


class Part(NamedTuple):
    """A part of the measurements.

    Attributes:
        comparisons: Comparisons by name, each a function of the number of rounds.
        rounds: Rounds of each comparison, unless another number is asked for.
        needs: Packages without which it is left out, unless it is asked for.
    """

    comparisons: dict[str, Callable[..., list[Row]]]
    rounds: int
    needs: tuple[str, ...] = ()


PARTS = {
    "environments": Part(environments.COMPARISONS, 11, ("envpool", "gymnax")),
    "learning": Part(learning.COMPARISONS, 9),
    "battery": Part(battery.COMPARISONS, 50),
    "maml": Part(maml.COMPARISONS, 5),
}


def main(arguments: Sequence[str]) -> int:
    """Measure, write and show; see `--help`.

    Returns:
        The exit status, 0.
    """
    any_terminal()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks speed", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_text = f"parts to measure, of {', '.join(PARTS)} (default: those whose packages are installed)"
    parser.add_argument("parts", nargs="*", type=_one_of(PARTS), metavar="PART", help=help_text)
    names = [name for part in PARTS.values() for name in part.comparisons]
    help_text = f"comparisons to make, of: {', '.join(map(shlex.quote, names))} (default: all)"
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=help_text)
    help_text = (
        f"samples of each time (default: {', '.join(f'{part.rounds} of {name}' for name, part in PARTS.items())})"
    )
    parser.add_argument("--rounds", type=count, metavar="N", help=help_text)
    help_text = "folder that `python -m benchmarks peers-maml install` set up (default: quote the peers of MAML)"
    parser.add_argument("--peers", type=maml.peers_folder, metavar="DIR", help=help_text)
    add_out(parser, Path("benchmarks/out/speed"))
    refuse(parser, {"--pairs": "--rounds N", "--algorithms": "--only NAME"})
    options = parser.parse_args(arguments)
    console, folder = make_console(), options.out
    chosen = options.parts
    if not chosen:
        chosen = [name for name, part in PARTS.items() if all(map(find_spec, part.needs))]
        for name in PARTS.keys() - set(chosen):
            console.print(f'left out: {name}, whose peers come with pip install "neural-battery[peers]"')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except OSError as error:
        parser.error(f"argument --out: must be a folder that takes files, got {folder} ({error})")
    command = shlex.join(["python", "-m", "benchmarks", "speed", *arguments])
    for name in chosen:
        rows = _measure(name, options)
        if rows:
            write_rows(folder / f"{name}.json", name, command, rows)
            for table in make_tables([Measurement.read(folder / f"{name}.json")]):
                show_table(table, console)
    job = read_speed(folder)
    if isinstance(job, Job):
        write_atomically(job.file, job.markdown(job.question.tables(job.runs)).encode())
        console.print(f"Written: {job.file}.")
    return 0


def _measure(name: str, options: argparse.Namespace) -> list[Row]:
    part = PARTS[name]
    extra: dict[str, Any] = {"folder": options.peers} if name == "maml" else {}
    wanted = [make for each, make in part.comparisons.items() if each in options.only]
    return [row for make in wanted for row in make(options.rounds or part.rounds, **extra)]


def _one_of(parts: Sequence[str] | dict[str, Part]) -> Callable[[str], str]:
    """A type of arguments; `choices` would refuse that there are none."""

    def part(text: str) -> str:
        if text not in parts:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(parts)}, got {text!r}")
        return text

    return part
