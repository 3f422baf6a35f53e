"""Runs specifications in worker processes; what is finished stays finished, whatever happens to the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import joblib

from benchmarks.experiment import RunResult, execute
from benchmarks.records import Run, commit, versions
from benchmarks.spec import RunSpec


@dataclass(frozen=True)
class Outcome:
    """What became of a specification: a run, or the traceback of the error that ended it."""

    spec: RunSpec
    run: Run | None = None
    failure: str | None = None


def run_all(
    specs: Sequence[RunSpec], folder: Path, *, workers: int, experiment: Callable[[RunSpec], RunResult] = execute
) -> Iterator[Outcome]:
    """Execute specifications and write a file for each run, as they come to an end.

    A run that raises does not stop the others. If a worker process dies, the runs that it may have been at are tried
    once more, each by itself, after all the others.

    Args:
        specs: what to run.
        folder: where the run files go; exists.
        workers: worker processes, each with one thread; with 1 the runs go on in this process.
        experiment: what a run is.

    Yields:
        One outcome for each specification, in the order in which they end.
    """
    code = commit()
    batches = [list(specs)]
    while batches:
        waiting = {spec.name: spec for spec in batches.pop(0)}
        alone = len(waiting) == 1
        # Nothing is handed out ahead: if this process is killed, its workers finish what they are at and no more.
        parallel = joblib.Parallel(n_jobs=workers, batch_size=1, pre_dispatch="n_jobs", return_as="generator_unordered")
        try:
            for outcome in parallel(
                [joblib.delayed(_run)(spec, folder, experiment, code) for spec in waiting.values()]
            ):
                del waiting[outcome.spec.name]
                yield outcome
        except BrokenProcessPool as error:
            lost = list(waiting.values())
            if alone:
                yield Outcome(lost[0], failure=f"its worker process was killed (out of memory?): {error}\n")
            else:  # runs start in order, so the first in line were being run
                batches += [lost[workers:], *([spec] for spec in lost[:workers])]


def _run(spec: RunSpec, folder: Path, experiment: Callable[[RunSpec], RunResult], code: str | None) -> Outcome:
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result = experiment(spec)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        run = Run(spec, result, versions(), code, *seconds)
        run.write(folder)
    except Exception:
        return Outcome(spec, failure=traceback.format_exc())
    return Outcome(spec, run)
