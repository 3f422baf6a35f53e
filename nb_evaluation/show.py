"""Shows what a folder of runs holds, whatever question they answer: `python -m nb_evaluation.show FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nb_evaluation.arguments import make_parser
from nb_evaluation.report.screen import any_terminal, quiet_pipe
from nb_evaluation.runs.folder import JOB_FILE, PACK, read_lines, stored
from nb_evaluation.runs.records import ENTRIES

DESCRIPTION = """\
List the runs of a folder, or those of them that the further words name:
`FOLDER nb-pro 100` names the run or runs of that method and seed, `FOLDER 9f2c`
the one whose digest begins so. Of a single run a summary is shown.
"""

COLUMNS = ("method", "seed", "digest", "seconds", "commit")

SHORT = 5
"""Number of entries up to which a list is shown whole."""


def main(arguments: Sequence[str], program: str = "python -m nb_evaluation.show") -> int:
    """Show runs; see `--help`.

    Args:
        arguments: Arguments of the command line.
        program: The command without them.

    Returns:
        The exit status: 0, or 1 where no run has been found.
    """
    any_terminal()
    parser = make_parser(program, DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a job's folder")
    parser.add_argument("words", nargs="*", metavar="WORD", help="method, seed, or beginning of a digest")
    parser.add_argument("--all", action="store_true", help="show all that the runs hold, as JSON")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    if not _is_job(folder) and (jobs := sorted(path for path in folder.iterdir() if _is_job(path))):
        print(f"{folder} holds folders of runs; name one of them:", *jobs, sep="\n  ")
        return 0
    try:
        runs = [data for _, data in stored(read_lines(folder), folder).values()]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    found = [run for run in runs if all(_fits(run, word) for word in options.words)]
    if not found:
        print(f"{folder} holds no {'such ' if runs else ''}run", file=sys.stderr)
        return 1
    rows = [COLUMNS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if options.all:
        print(*(json.dumps(run, indent=1) for run in found), sep="\n")
    elif len(found) == 1:
        run = found[0]
        names = ("spec", *(name for name in run if name not in ENTRIES), "result", "cpu_seconds", "versions")
        shown = [each for name in names for each in _summary(name, run[name])]
        width = max(len(name) for name, _ in shown)
        print("", *(f"{name:<{width}}  {text}" for name, text in shown), "", "--all shows every number.", sep="\n")
    return 0


def _is_job(folder: Path) -> bool:
    return (folder / JOB_FILE).is_file() or (folder / PACK).is_file()


def _fits(run: Mapping[str, Any], word: str) -> bool:
    spec = run["spec"]
    return word in (spec["method"], str(spec["seed"])) or run["digest"].startswith(word)


def _row(run: Mapping[str, Any]) -> tuple[str, ...]:
    spec, seconds = run["spec"], f"{run['wall_seconds']:.1f}"
    return spec["method"], str(spec["seed"]), run["digest"], seconds, run["commit"] or "none"


def _summary(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The numbers and words of a run by their names; of a long list, its length and its ends."""
    if isinstance(value, dict):
        for inner, each in value.items():
            yield from _summary(f"{name}.{inner}", each)
    elif not isinstance(value, list):
        yield name, _text(value)
    elif any(isinstance(each, (dict, list)) for each in value):
        yield name, f"{len(value)} lists"
    elif len(value) <= SHORT:
        yield name, ", ".join(map(_text, value))
    else:
        yield name, f"{len(value)} numbers, from {_text(value[0])} to {_text(value[-1])}"


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(quiet_pipe(main, sys.argv[1:]))
