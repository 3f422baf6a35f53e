"""Reading folders of run files: what can be reported, and what is left out, by name and with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from nb_evaluation.question import Job, Question, Skipped
from nb_evaluation.runs.earlier import MADE_EARLIER, earlier_files
from nb_evaluation.runs.folder import JOB_FILE, compared, differing, read_lines

NAMED_DIFFERENCES = 3
"""Number of differences between a run and the majority that are named."""

Questions = Mapping[str, Question[Any, Any]]
"""The questions that are known, by name, in the order of the page."""


def read_folder(folder: Path, questions: Questions, elsewhere: Collection[str] = ()) -> tuple[list[Job], list[Skipped]]:
    """Read a folder of jobs, or a single job's folder.

    Args:
        folder: Folder of folders, or of runs.
        questions: Questions by name.
        elsewhere: Names of folders whose reader is another.

    Returns:
        The jobs, in the order of the questions and then of their names, and the folders that are none.

    Raises:
        NotADirectoryError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    folders = [folder] if (folder / JOB_FILE).is_file() else sorted(path for path in folder.iterdir() if path.is_dir())
    read = [read_job(each, questions) for each in folders if each.name not in elsewhere]
    order = list(questions)
    jobs = sorted((each for each in read if isinstance(each, Job)), key=lambda job: order.index(job.question.name))
    here = [] if folders == [folder] else earlier_files(folder)
    skipped = [Skipped(path.name, MADE_EARLIER) for path in here]
    return jobs, [*(each for each in read if isinstance(each, Skipped)), *skipped]


def read_job(folder: Path, questions: Questions) -> Job | Skipped:
    """Read a job's folder; where nothing there can be reported, the reason."""
    name = folder.resolve().name
    try:
        data = json.loads((folder / JOB_FILE).read_bytes())
        question, command = data["question"], str(data["command"])
        known = questions[question]
    except FileNotFoundError:
        if names := [path.name for path in earlier_files(folder)]:
            more = f", and {len(names) - 1} more like it," if names[1:] else ""
            return Skipped(name, f"has no {JOB_FILE}: {names[0]}{more} {MADE_EARLIER}")
        return Skipped(name, f"has no {JOB_FILE}, which says what question the runs answer and by what command")
    except KeyError as error:
        if error.args[0] in ("question", "command"):
            return Skipped(name, f"{JOB_FILE} lacks {error}")
        return Skipped(name, f"{JOB_FILE} names the question {question!r}; known are {', '.join(questions)}")
    except (OSError, RecursionError, TypeError, ValueError) as error:
        return Skipped(name, f"{JOB_FILE} is damaged ({error})")
    try:
        runs, skipped = _read_runs(folder, known)
    except (OSError, ValueError) as error:
        return Skipped(name, str(error).replace(f"{folder}/", ""))
    if not runs:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in skipped) or "it holds no run"
        return Skipped(name, f"no run can be reported ({reasons})")
    return Job(folder, name, known, command, runs, skipped)


def _read_runs(folder: Path, question: Question[Any, Any]) -> tuple[list[Any], list[Skipped]]:
    """The runs that agree with each other, and those that are left out."""
    skipped = {path.name: Skipped(path.name, MADE_EARLIER) for path in earlier_files(folder)}
    runs: dict[str, Any] = {}
    for line in read_lines(folder):
        try:
            run = question.run.from_line(line.content, "it", line.name)
        except ValueError as error:
            skipped.setdefault(line.where, Skipped(line.where, str(error)))
            continue
        name, method, seed = run.spec.name, run.spec.method, run.spec.seed
        if not question.knows(method):
            skipped[name] = Skipped(name, f"its method is {method}; known are {', '.join(question.methods)}")
        elif seed < question.first_seed:
            reason = f"seed {seed} is for tuning; reported are seeds from {question.first_seed}"
            skipped[name] = Skipped(name, reason)
        else:
            runs[name] = run

    runs, others = _majority(runs, lambda run: compared(run.spec.shared, run.versions, question.varies))
    kept: list[Any] = []
    for method in dict.fromkeys(run.spec.method for run in runs.values()):
        group = {name: run for name, run in runs.items() if run.spec.method == method}
        # What belongs to a single method is no part of what all methods share.
        group, odd = _majority(group, _own)
        kept += group.values()
        others += odd
    return kept, [*skipped.values(), *others]


def _own(run: Any) -> dict[str, Any]:
    return {name: getattr(run.spec, name) for name in run.spec.own if name not in ("method", "seed")}


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
    names = differing(here, most)
    named = [f"{name} is {here.get(name)}, not {most.get(name)}" for name in names[:NAMED_DIFFERENCES]]
    rest = len(names) - len(named)
    return "; ".join(named) + (f"; and {rest} more" if rest > 0 else "")
