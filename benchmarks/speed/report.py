"""What the report shows of speed: the measurements in a folder, as tables. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.rows import Measurement
from benchmarks.speed.tables import make_tables
from nb_evaluation.question import Job, Question, Skipped
from nb_evaluation.report.verdict import Verdict
from nb_evaluation.runs.earlier import MADE_EARLIER, earlier_files

NAME = "speed"
"""Name of the section's anchor, and of the folder of the measurements within a folder of results."""

PARTS = ("environments", "learning", "battery", "inference", "robots", "maml", "runtime")


def command(part: str) -> str:
    """Name the command that writes the file of a part."""
    return f"python -m benchmarks speed {part} --out FOLDER" + (" --peers DIR" if part == "maml" else "")


def read_speed(folder: Path) -> Job | Skipped | None:
    """Read the measurements in a folder of results, or in its folder `speed`, as a job of the report.

    Returns:
        None where there is none; the reason where none can be reported.
    """
    inner = folder / NAME
    folder = inner if inner.is_dir() else folder
    earlier = earlier_files(folder)
    # Several files of a part have an underscore after its name; `maml-seed100-….json` is a run of an unfinished job.
    of_part = {part: {*folder.glob(f"{part}.json"), *folder.glob(f"{part}_*.json")} for part in PARTS}
    paths = {part: sorted(found - {*earlier}) for part, found in of_part.items()}
    read: list[Measurement] = []
    # Those of a folder of jobs are named by who reads that.
    skipped = [Skipped(path.name, MADE_EARLIER) for path in earlier if folder == inner]
    if not skipped and not any(paths.values()):
        return None
    for part, found in paths.items():
        if not found:
            skipped.append(Skipped(f"{part}.json", f"is missing; `{command(part)}` writes it"))
        measured: list[Measurement] = []
        for path in found:
            each = _read_file(path, part, measured)
            (skipped if isinstance(each, Skipped) else measured).append(each)  # type: ignore[arg-type]
        read += measured
    if not read:
        reasons = "; ".join(f"{each.name} {each.reason}" for each in skipped)
        return Skipped(NAME, f"no measurement can be reported ({reasons})")
    return Job(folder, NAME, SpeedPage(), "", read, skipped)


def _read_file(path: Path, part: str, others: Sequence[Measurement]) -> Measurement | Skipped:
    """Read a file of a part, which has to agree with the others in what the figures depend on."""
    try:
        measurement = Measurement.read(path)
        make_tables([measurement])
    except Exception as error:  # what a damaged file makes the parsers raise is of any kind
        text = f"{type(error).__name__}: {error}".replace(str(path), "it")
        return Skipped(path.name, f"is damaged, or none of `{command(part)}` ({text})")
    for first in others[:1]:
        depends_on = ("commit", "machine", "versions")
        differing = [name for name in depends_on if getattr(measurement, name) != getattr(first, name)]
        if differing:
            return Skipped(path.name, f"differs from {first.name} in {', '.join(differing)}, so they are not pooled")
    return measurement


class SpeedPage(Question[Any, Any]):
    """What the page shows of the measurements; nothing is run."""

    name = NAME
    title = "Throughput: environments, gates, k-sets and MAML beside their peers"
    intervals = ""
    tables = staticmethod(make_tables)

    def _judged(self, runs: Sequence[Measurement]) -> list[tuple[str, Sequence[str]]]:
        """Find the rows with a target, each with its table's title."""
        return [(table.title, row) for table in self.tables(runs) for row in table.rows if row[-1]]

    def answer(self, runs: Sequence[Measurement]) -> Verdict | None:
        """Say how many targets are reached; None where there are none."""
        reached = [row[-1] == "yes" for _, row in self._judged(runs)]
        text = f"The medians reach {sum(reached)} of {len(reached)} targets beside their peers."
        return Verdict(text, "better" if all(reached) else "open", word="speed") if reached else None

    def caption(self, runs: Sequence[Measurement], command: str) -> str:
        """Say how the figures are to be read, and which targets they miss."""
        rows = self._judged(runs)
        missed = [f"{title.partition(':')[0]}, {row[0]} ({row[3]}, {row[5]})" for title, row in rows if row[-1] == "no"]
        return (
            "Where rounds are counted, ratios are medians of those within interleaved rounds, with the least and the"
            " greatest; a target is reached if the median reaches it."
            f" Reached: {len(rows) - len(missed)} of {len(rows)} targets."
            + (f" Missed: {'; '.join(missed)}." if missed else "")
        )
