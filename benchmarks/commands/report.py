"""Writes the report of a folder of runs: `python -m benchmarks report FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.questions import all_questions
from benchmarks.speed.report import NAME as SPEED
from benchmarks.speed.report import read_speed
from nb_evaluation.arguments import make_parser
from nb_evaluation.files import write_atomically
from nb_evaluation.page import html_page, make_section
from nb_evaluation.question import Job
from nb_evaluation.reader import read_folder
from nb_evaluation.report.screen import any_terminal

DEFAULT = Path("benchmarks/results")

MEASURED = ("architectures", "imagenet")
"""Folders of measurements that are no jobs, and write their table themselves."""

DESCRIPTION = """\
Write index.html, one page of tables and figures that needs nothing else, and
table.md in the folder of each job, and of measured speeds. The same files give
the same bytes. What cannot be reported is named on the page and here, and left
as it is. Figures in files of their own are not drawn here: the job's own command
with the same --out draws them again.
"""


def main(arguments: Sequence[str], program: str = "python -m benchmarks report") -> int:
    """Write the report; see `--help`.

    Returns:
        The exit status: 0, also where something was left out.
    """
    any_terminal()
    parser = make_parser(program, DESCRIPTION)
    help_text = f"a job's output folder, or a folder of such folders (default: {DEFAULT})"
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT, metavar="FOLDER", help=help_text)
    folder: Path = parser.parse_args(arguments).folder
    try:
        jobs, skipped = read_folder(folder, all_questions(), elsewhere=[SPEED, *MEASURED])
    except NotADirectoryError as error:
        parser.error(str(error))
    speeds = read_speed(folder)
    if isinstance(speeds, Job):
        jobs.append(speeds)
    elif speeds is not None:
        skipped.append(speeds)
    for each in skipped:
        print(f"left out: {each.name} {each.reason}", file=sys.stderr)
    if not jobs:
        parser.error(f"{folder} holds no job that can be reported")
    sections = [make_section(job) for job in jobs]
    texts = {section.job.file: section.markdown for section in sections}
    texts[folder / "index.html"] = html_page(sections, skipped)
    # All is made before the first file is replaced.
    for section in sections:
        for each in section.job.skipped:
            print(f"left out: {section.job.name}/{each.name} {each.reason}", file=sys.stderr)
    try:
        for path, text in texts.items():
            write_atomically(path, text.encode())
    except OSError as error:
        parser.error(f"the report cannot be written: {error}")
    print(f"Written: {', '.join(map(str, reversed(texts)))}.")
    return 0
