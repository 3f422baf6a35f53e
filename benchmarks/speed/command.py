"""Times environments, learning, k-sets, robots, MAML and a runtime beside their peers: `python -m benchmarks speed`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed import adapters, battery, environments, inference, learning, maml, robots, runtime
from benchmarks.speed.report import read_speed
from benchmarks.speed.rows import Measurement, Row, write_rows
from benchmarks.speed.tables import make_tables
from nb_evaluation.arguments import add_out, count, make_out, make_parser, refuse
from nb_evaluation.files import write_atomically
from nb_evaluation.question import Job
from nb_evaluation.report.screen import any_terminal, make_console, show_table

DESCRIPTION = """\
Time environments, learning, k-sets, computed k's, robots, MAML and the runtime
without PyTorch beside their peers.
Each part leaves its samples in FOLDER/PART.json, and all that are there become
FOLDER/table.md.
"""


class Part(NamedTuple):
    """A part of the measurements, and the packages of an extra without which it is left out unless it is asked for."""

    comparisons: Mapping[str, Callable[..., list[Row]]]
    rounds: int
    needs: tuple[str, ...] = ()
    extra: str = "peers"


PARTS = {
    "environments": Part(environments.COMPARISONS, 11, ("envpool", "gymnax")),
    "learning": Part(learning.COMPARISONS, 9),
    "battery": Part(battery.COMPARISONS | adapters.COMPARISONS, 50),
    "inference": Part(inference.COMPARISONS, 9),
    "robots": Part(robots.COMPARISONS, 9, ("mujoco", "envpool")),
    "maml": Part(maml.COMPARISONS, 5),
    "runtime": Part(runtime.COMPARISONS, 9, ("onnxruntime", "onnxscript"), "onnx"),
}


def main(arguments: Sequence[str], program: str = "python -m benchmarks speed") -> int:
    """Measure, write and show; see `--help`.

    Returns:
        The exit status, 0.
    """
    any_terminal()
    options = _parse(arguments, program)
    console, folder, chosen = make_console(), options.out, options.parts
    if not chosen:
        chosen = [name for name, part in PARTS.items() if all(map(find_spec, part.needs))]
        for name in PARTS.keys() - set(chosen):
            console.print(f'left out: {name}, which needs pip install "neural-battery[{PARTS[name].extra}]"')
    command = shlex.join([*program.split(), *arguments])
    for name in chosen:
        part = PARTS[name]
        extra: dict[str, Any] = {"folder": options.peers} if name == "maml" else {}
        wanted = [make for each, make in part.comparisons.items() if each in options.only]
        rows = [row for make in wanted for row in make(options.rounds or part.rounds, **extra)]
        if rows:
            write_rows(folder / f"{name}.json", name, command, rows)
            for table in make_tables([Measurement.read(folder / f"{name}.json")]):
                show_table(table, console)
    job = read_speed(folder)
    if isinstance(job, Job):
        write_atomically(job.file, job.markdown(job.question.tables(job.runs)).encode())
        console.print(f"Written: {job.file}.")
    return 0


def _parse(arguments: Sequence[str], program: str) -> argparse.Namespace:
    parser = make_parser(program, DESCRIPTION)
    help_text = f"parts to measure, of {', '.join(PARTS)} (default: those whose packages are installed)"
    parser.add_argument("parts", nargs="*", metavar="PART", help=help_text)
    names = [name for part in PARTS.values() for name in part.comparisons]
    help_text = f"comparisons to make, of: {', '.join(map(shlex.quote, names))} (default: all)"
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=help_text)
    defaults = ", ".join(f"{part.rounds} of {name}" for name, part in PARTS.items())
    help_text = f"samples of each time, and five times as many of predict (default: {defaults})"
    parser.add_argument("--rounds", type=count, metavar="N", help=help_text)
    help_text = "folder that `python -m benchmarks peers-maml install` set up (default: quote the peers of MAML)"
    parser.add_argument("--peers", type=maml.peers_folder, metavar="DIR", help=help_text)
    add_out(parser, Path("benchmarks/out/speed"))
    refuse(parser, {"--pairs": "--rounds N", "--algorithms": "--only NAME", "--quick": "--rounds 3"})
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"argument PART: must be one of {', '.join(PARTS)}, got {unknown[0]!r}")
    make_out(parser, options.out)
    return options
