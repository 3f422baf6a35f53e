"""A comparison that Python asks for: the job of the command, without its command line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from nb_agents.comparison import Compared
from nb_agents.comparison.question import DEFAULTS, QUESTION
from nb_evaluation.job import finish, outcomes_of, unfinished


def answered(env: str, given: Mapping[str, Any], out: Path, workers: int, ray: str | None) -> Compared:
    """See `nb_agents.compare`."""
    if unknown := sorted(given.keys() - DEFAULTS.keys()):
        raise ValueError(f"options must be of {', '.join(DEFAULTS)}; got {unknown[0]!r}")
    specs = QUESTION.planned(env, dict(given))
    out.mkdir(parents=True, exist_ok=True)
    waiting = unfinished(QUESTION, specs, out)
    failures = [each for each in outcomes_of(QUESTION, waiting, out, workers=workers, ray=ray) if each.failure]
    for each in failures:
        raise RuntimeError(f"{each.spec.name} failed; the other runs are kept in {out}:\n{each.failure}")
    command = f"nb_agents.compare({', '.join([repr(env), *(f'{name}={value!r}' for name, value in given.items())])})"
    job = finish(QUESTION, out, command, Console(file=io.StringIO()))
    if job is None:
        raise ValueError(f"{out} holds no run that can be reported")
    verdict = QUESTION.answer(job.runs)
    return Compared(verdict.text if verdict else "", QUESTION.tables(job.runs), job.runs, out / "index.html")
