"""Shows what a folder of runs holds: `python -m benchmarks show FOLDER [RUN]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nb_evaluation.arguments import make_parser
from nb_evaluation.report.screen import any_terminal
from nb_evaluation.runs.folder import read_lines
from nb_evaluation.seal import unseal

DESCRIPTION = """\
List the runs of a folder by method, seed and digest, or show those of them that
the further words name: `show FOLDER nb-pro 100` shows the run or runs of that
method and seed, `show FOLDER 9f2c` the one whose digest begins so.
"""


def main(arguments: Sequence[str]) -> int:
    """Show runs; see `--help`.

    Returns:
        The exit status: 0, or 1 where no run has been found.
    """
    any_terminal()
    parser = make_parser("python -m benchmarks show", DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a job's folder")
    parser.add_argument("words", nargs="*", metavar="WORD", help="method, seed, or beginning of a digest")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    try:
        runs = [unseal(line.content) for line in read_lines(options.folder)]
    except (TypeError, ValueError) as error:
        parser.error(f"{options.folder} holds a damaged run: {error}")
    found = [run for run in runs if all(_fits(run, word) for word in options.words)]
    for run in found:
        spec = run["spec"]
        print(f"{spec['method']}  seed {spec['seed']}  {run['digest']}  {run['wall_seconds']:.1f} s  {run['commit']}")
        if options.words:
            print(json.dumps(run, indent=1))
    if not found:
        print(f"{options.folder} holds no such run", file=sys.stderr)
    return 0 if found else 1


def _fits(run: dict[str, Any], word: str) -> bool:
    spec = run["spec"]
    return word in (spec["method"], str(spec["seed"])) or run["digest"].startswith(word)
