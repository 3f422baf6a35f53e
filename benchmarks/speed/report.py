"""What the report shows of speed: the files that the four scripts wrote, as tables of one form.

Read are `throughput.json` (environments), `learning_speed*.json` (gates), `battery_speed.json` (k-sets) and
`maml_speed.json` in a results folder. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed.tables import Measurement, battery_tables, environment_tables, gate_tables, maml_tables
from nb_evaluation.question import Question
from nb_evaluation.report.jobs import Job, Skipped
from nb_evaluation.report.tables import Table
from nb_evaluation.seal import unseal

NAME = "throughput"
"""Of the section's anchor, and of the Markdown file beside the measurements."""


class Part(NamedTuple):
    """A part of the section.

    Attributes:
        files: their names, as a pattern.
        command: what writes such a file.
        tables: made from the files of this part; raises what `DAMAGE` names if they are not of its form.
    """

    files: str
    command: str
    tables: Callable[[Sequence[Measurement]], list[Table]]


Measured = tuple[Part, Sequence[Measurement]]

PARTS = (
    Part("throughput.json", "python -m benchmarks throughput --json throughput.json", environment_tables),
    Part("learning_speed*.json", "python -m benchmarks learning-speed --json learning_speed.json", gate_tables),
    Part("battery_speed.json", "python -m benchmarks battery-speed --json battery_speed.json", battery_tables),
    Part("maml_speed.json", "python -m benchmarks maml-speed --peers DIR --out maml_speed.json", maml_tables),
)

DAMAGE = (ArithmeticError, AttributeError, IndexError, KeyError, OSError, RecursionError, TypeError, ValueError)


def read_speed(folder: Path) -> Job | Skipped | None:
    """The measurements in a results folder, as a job of the report; None where there is no file of any part."""
    found = {part: sorted(folder.glob(part.files)) for part in PARTS}
    if not any(found.values()):
        return None
    read: list[Measured] = []
    skipped: list[Skipped] = []
    for part, paths in found.items():
        measured: list[Measurement] = []
        for path in paths:
            each = _read_file(path, part, measured)
            (skipped if isinstance(each, Skipped) else measured).append(each)  # type: ignore[arg-type]
        if not paths:
            skipped.append(Skipped(part.files.replace("*", ""), f"is missing; `{part.command}` writes it"))
        if measured:
            read.append((part, measured))
    if not read:
        reasons = "; ".join(f"{each.name} {each.reason}" for each in skipped)
        return Skipped(NAME, f"no measurement can be reported ({reasons})")
    return Job(folder, NAME, SpeedPage(), "", read, skipped)


def _read_file(path: Path, part: Part, others: Sequence[Measurement]) -> Measurement | Skipped:
    """A file of a part, which has to agree with the others in what the figures depend on."""
    try:
        data = unseal(path.read_bytes())
        measurement = Measurement(path.name, data.get("command", part.command), data)
        part.tables([measurement])
    except DAMAGE as error:
        text = f"{type(error).__name__}: {error}".replace(str(path), "it")
        return Skipped(path.name, f"is damaged, or none of `{part.command}` ({text})")
    for first in others[:1]:
        differing = [name for name in ("commit", "machine", "versions") if data.get(name) != first.data.get(name)]
        if differing:
            return Skipped(path.name, f"differs from {first.name} in {', '.join(differing)}, so they are not pooled")
    return measurement


def tables(runs: Sequence[Measured]) -> list[Table]:
    """All tables."""
    return [table for part, measured in runs for table in part.tables(measured)]


def caption(runs: Sequence[Measured], command: str) -> str:
    """How the figures are to be read, and which targets they miss."""
    rows = [(table.title, row) for table in tables(runs) for row in table.rows if row[-1]]
    missed = [f"{title.partition(':')[0]}, {row[0]} ({row[3]}, {row[5]})" for title, row in rows if row[-1] == "no"]
    return (
        "Where rounds are counted, ratios are medians of those within interleaved rounds, with the least and the"
        " greatest; a target is reached if the median reaches it."
        f" Reached: {len(rows) - len(missed)} of {len(rows)} targets."
        + (f" Missed: {'; '.join(missed)}." if missed else "")
    )


class SpeedPage(Question[Any, Any]):
    """What the page shows of the measurements; nothing is run."""

    name = NAME
    title = "Throughput: environments, gates, k-sets and MAML beside their peers"
    file = f"{NAME}.md"
    intervals = ""
    caption = staticmethod(caption)
    tables = staticmethod(tables)
