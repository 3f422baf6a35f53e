"""Reading folders of run files: what can be reported, and what is left out, by name and with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.protocol.spec import FIRST_REPORTING_SEED
from benchmarks.report.questions import ELSEWHERE, QUESTIONS, Question
from benchmarks.runs.records import JOB_FILE, compared
from nb_evaluation.report.tables import Table, markdown_page

NAMED_DIFFERENCES = 3
"""So many differences between a run and the majority are named."""


class Skipped(NamedTuple):
    """Something left out of the report.

    Attributes:
        name: of the file or folder, below the report's own folder.
        reason: why.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Job:
    """A folder of runs of one specification, made with the same versions of all packages.

    Attributes:
        folder: where the files are.
        name: the folder's name, which is the job's on the page.
        question: what the runs answer.
        command: what made them.
        runs: those that the report is of; at least one.
        skipped: other files in the folder.
    """

    folder: Path
    name: str
    question: Question
    command: str
    runs: Sequence[Any]
    skipped: Sequence[Skipped]

    @property
    def file(self) -> Path:
        """Where the tables go."""
        return self.folder / self.question.file

    @property
    def caption(self) -> str:
        """Seeds, budget and command."""
        return self.question.caption(self.runs, self.command)

    def markdown(self, tables: Sequence[Table]) -> str:
        """The contents of `file`."""
        left_out = f"Left out: {'; '.join(f'`{each.name}` {each.reason}' for each in self.skipped)}."
        closing = (self.question.intervals, self.caption, left_out if self.skipped else "")
        return markdown_page(tables, *filter(None, closing))


class Found(NamedTuple):
    """What there is in a folder.

    Attributes:
        jobs: in the order of `QUESTIONS` and then of their names.
        skipped: folders that are none.
        elsewhere: folders whose results have a page of their own; see `ELSEWHERE`.
    """

    jobs: list[Job]
    skipped: list[Skipped]
    elsewhere: list[str]


def read_folder(folder: Path) -> Found:
    """Read a folder of jobs, or a single job's folder.

    Raises:
        NotADirectoryError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    folders = [folder] if (folder / JOB_FILE).is_file() else sorted(path for path in folder.iterdir() if path.is_dir())
    elsewhere = [each.name for each in folders if each.name in ELSEWHERE and not (each / JOB_FILE).exists()]
    read = [read_job(each) for each in folders if each.name not in elsewhere]
    order = list(QUESTIONS.values())
    jobs = sorted((each for each in read if isinstance(each, Job)), key=lambda job: order.index(job.question))
    return Found(jobs, [each for each in read if isinstance(each, Skipped)], elsewhere)


def read_job(folder: Path) -> Job | Skipped:
    """Read a job's folder; where nothing there can be reported, the reason."""
    name = folder.resolve().name
    try:
        data = json.loads((folder / JOB_FILE).read_bytes())
        question, command = data["question"], str(data["command"])
        known = QUESTIONS[question]
    except FileNotFoundError:
        return Skipped(name, f"has no {JOB_FILE}, which says what question the runs answer and by what command")
    except (OSError, RecursionError, TypeError, ValueError) as error:
        return Skipped(name, f"{JOB_FILE} is damaged ({error})")
    except KeyError as error:
        if error.args[0] in ("question", "command"):
            return Skipped(name, f"{JOB_FILE} lacks {error}")
        return Skipped(name, f"{JOB_FILE} names the question {question!r}; known are {', '.join(QUESTIONS)}")
    runs, skipped = _read_runs(folder, known)
    if not runs:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in skipped) or "it holds no run file"
        return Skipped(name, f"no run can be reported ({reasons})")
    return Job(folder, name, known, command, runs, skipped)


def _read_runs(folder: Path, question: Question) -> tuple[list[Any], list[Skipped]]:
    """The runs that agree with each other, and the files that are left out."""
    skipped: list[Skipped] = []
    runs: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == JOB_FILE:
            continue
        try:
            run = question.run.read(path)
        except (OSError, ValueError) as error:
            skipped.append(Skipped(path.name, str(error).replace(str(path), "it")))
            continue
        if run.spec.method not in question.methods:
            reason = f"its method is {run.spec.method}; known are {', '.join(question.methods)}"
            skipped.append(Skipped(path.name, reason))
        elif run.spec.seed < FIRST_REPORTING_SEED:
            reason = f"seed {run.spec.seed} is for tuning; reported are seeds from {FIRST_REPORTING_SEED}"
            skipped.append(Skipped(path.name, reason))
        else:
            runs[path.name] = run

    runs, others = _majority(runs, lambda run: compared(run.spec.shared, run.versions, question.varies))
    kept: list[Any] = []
    for method in dict.fromkeys(run.spec.method for run in runs.values()):
        group = {name: run for name, run in runs.items() if run.spec.method == method}
        # A meta-learner's own settings are no part of what all methods share.
        group, odd = _majority(group, lambda run: {"meta": getattr(run.spec, "meta", None)})
        kept += group.values()
        others += odd
    return kept, skipped + others


def _majority(runs: Mapping[str, Any], key: Callable[[Any], dict[str, Any]]) -> tuple[dict[str, Any], list[Skipped]]:
    """The largest group of runs of equal keys, the first one of several; and how each of the others differs."""
    keys = {name: key(run) for name, run in runs.items()}
    groups: list[list[str]] = []
    for name, each in keys.items():
        for group in groups:
            if keys[group[0]] == each:
                group.append(name)
                break
        else:
            groups.append([name])
    if not groups:
        return {}, []
    most = max(groups, key=len)
    odd = [
        Skipped(name, f"is of another specification than most: {_differences(keys[name], keys[most[0]])}")
        for name in keys
        if name not in most
    ]
    return {name: runs[name] for name in most}, odd


def _differences(here: Mapping[str, Any], most: Mapping[str, Any]) -> str:
    names = [name for name in sorted(here.keys() | most.keys()) if here.get(name) != most.get(name)]
    named = [f"{name} is {here.get(name)}, not {most.get(name)}" for name in names[:NAMED_DIFFERENCES]]
    rest = len(names) - len(named)
    return "; ".join(named) + (f"; and {rest} more" if rest > 0 else "")
