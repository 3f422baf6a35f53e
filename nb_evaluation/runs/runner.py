"""Runs specifications in worker processes; what is finished stays finished, whatever happens to the others.

A question brings its own kind of specification, experiment and run file (`Specification`, `RunFile`); the runner does
the rest. The workers are processes on this machine (joblib's loky) or on a Ray cluster (`cluster.py`).

Who writes: a local worker writes the file of its run itself, so that a run is kept from the moment when it ends; if
this process is killed, its workers end within seconds (`workers.py`). The nodes of a cluster may not see the folder:
there this process writes what comes back, and if it is killed Ray ends its runs. Either way a killed job loses no more
than the runs that were in flight.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import joblib

from nb_evaluation.files import check_writable
from nb_evaluation.runs.cluster import Lost, RayTasks, connected, reach
from nb_evaluation.runs.provenance import commit, versions
from nb_evaluation.runs.workers import local_workers, one_torch_thread


class Named(Protocol):
    """What the runner has to know of a specification; it is also pickled, to reach the workers."""

    @property
    def name(self) -> str:
        """The run's name among all runs of the folder."""
        ...


class Written(Protocol):
    """What the runner has to know of a finished run."""

    def write(self, folder: Path) -> Path:
        """Write the run's file, whole or not at all."""
        ...


Spec = TypeVar("Spec", bound=Named)
Result = TypeVar("Result")
Finished = TypeVar("Finished", bound=Written)

Record = Callable[[Spec, Result, dict[str, str], str | None, float, float], Finished]
"""Makes a run of its specification, its result, the packages' versions, the commit, and wall and CPU seconds."""


class FolderError(OSError):
    """The folder takes no more files, so that there is no use in going on."""


@dataclass(frozen=True)
class Outcome(Generic[Spec, Finished]):
    """What became of a specification: a run, or the traceback of the error that ended it.

    Attributes:
        spec: Specification.
        run: Finished run; None where it failed.
        failure: Traceback; None where the run finished.
        folder_failure: Reason why the folder takes no more files; None where that is not the error.
    """

    spec: Spec
    run: Finished | None = None
    failure: str | None = None
    folder_failure: str | None = None


def run_all(
    specs: Sequence[Spec],
    folder: Path,
    *,
    workers: int,
    experiment: Callable[[Spec], Result],
    record: Record[Spec, Result, Finished],
    ray: str | None = None,
    code: Path | None = None,
) -> Iterator[Outcome[Spec, Finished]]:
    """Execute specifications and write a file for each run, as they come to an end.

    A run that raises does not stop the others. If a worker process dies, the runs that it may have been at are tried
    again: locally once more, each by itself, after all the others; on a cluster by Ray, up to `cluster.RETRIES` times.

    Args:
        specs: Specifications to run; their names differ.
        folder: Folder of the run files; it exists.
        workers: Number of runs at a time, each in a process with one thread; locally, a single one goes on in this
            process.
        experiment: Function that makes a result of a specification; cloudpickle must be able to send it.
        record: Function that makes the run, and so its file, of the result.
        ray: Address of a Ray cluster to send the runs to, see `cluster.check_address`; None for this machine.
        code: Folder of the package that the experiment is from, whose commit is noted and which a cluster is sent.

    Returns:
        An iterator over one outcome for each specification, in the order in which they end.

    Raises:
        ConnectionError: No cluster answers at the address.
        FolderError: The folder takes no more files, as on a full disk; raised by the iterator, which ends the workers.
        ModuleNotFoundError: A cluster is asked for, and Ray is not installed.
        ValueError: `workers` is below 1, two specifications share a name, or `ray` is not an address.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    repeated = [name for name, number in Counter(spec.name for spec in specs).items() if number > 1]
    if repeated:
        raise ValueError(f"specs must have different names, got {', '.join(repeated)} more than once")
    run = _Executor(experiment, record, commit(code), versions())
    if ray is None:
        return _on_this_machine(specs, run, folder, workers)
    reach(ray)
    return _on_a_cluster(specs, run, folder, workers, connected(ray, code))


@dataclass(frozen=True)
class _Executor:
    """Does what happens in a worker."""

    experiment: Callable[[Any], Any]
    record: Callable[..., Any]
    commit: str | None
    versions: dict[str, str]

    def __call__(self, spec: Named, folder: Path | None) -> Outcome[Any, Any]:
        """Run a specification, and write the file if the folder is here."""
        outcome = self._run(spec)
        return outcome if folder is None else _written(outcome, folder)

    def _run(self, spec: Named) -> Outcome[Any, Any]:
        try:
            if versions() != self.versions:
                raise RuntimeError(f"the worker has {versions()}, but the job was started with {self.versions}")
            wall, cpu = time.perf_counter(), time.process_time()
            with one_torch_thread():
                result = self.experiment(spec)
            seconds = time.perf_counter() - wall, time.process_time() - cpu
            run = self.record(spec, result, self.versions, self.commit, *seconds)
        except Exception:
            return Outcome(spec, failure=traceback.format_exc())
        return Outcome(spec, run)


def _written(outcome: Outcome[Any, Any], folder: Path) -> Outcome[Any, Any]:
    """Write the run's file, if there is a run; a file that cannot be written makes a failure of it."""
    try:
        if outcome.run is not None:
            outcome.run.write(folder)
    except Exception as error:
        return Outcome(outcome.spec, None, traceback.format_exc(), _folder_failure(error, folder))
    return outcome


def _folder_failure(error: Exception, folder: Path) -> str | None:
    """Why no other file can be written either; None if that is not so."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{folder} takes no more files ({error.strerror})"
    try:
        check_writable(folder)
    except OSError as trouble:
        return f"{folder} takes no more files ({trouble.strerror})"
    return None


def _unless_the_folder_is_full(outcome: Outcome[Any, Any]) -> Outcome[Any, Any]:
    if outcome.folder_failure is not None:
        raise FolderError(outcome.folder_failure)
    return outcome


def _on_this_machine(specs: Sequence[Named], run: _Executor, folder: Path, workers: int) -> Iterator[Outcome[Any, Any]]:
    batches = [list(specs)]
    while batches:
        waiting = {spec.name: spec for spec in batches.pop(0)}
        alone = len(waiting) == 1
        try:
            parallel = local_workers(workers, **_as_they_come(workers))
            for outcome in parallel([joblib.delayed(run)(spec, folder) for spec in waiting.values()]):
                del waiting[outcome.spec.name]
                yield _unless_the_folder_is_full(outcome)
        except BrokenProcessPool as error:
            lost = list(waiting.values())
            if alone:
                yield Outcome(lost[0], failure=f"its worker process was killed (out of memory?): {error}\n")
            else:  # runs start in order, so the first in line were being run
                batches += [lost[workers:], *([spec] for spec in lost[:workers])]


def _on_a_cluster(
    specs: Sequence[Named], run: _Executor, folder: Path, workers: int, cluster: AbstractContextManager[None]
) -> Iterator[Outcome[Any, Any]]:
    waiting = {spec.name: spec for spec in specs}
    reasons = []
    with cluster:
        with joblib.parallel_config(RayTasks(), n_jobs=workers):
            parallel = joblib.Parallel(**_as_they_come(workers))
        for outcome in parallel([joblib.delayed(run)(spec, None) for spec in specs]):
            if isinstance(outcome, Lost):
                reasons.append(outcome.reason)
                continue
            del waiting[outcome.spec.name]
            yield _unless_the_folder_is_full(_written(outcome, folder))
    for spec in waiting.values():
        yield Outcome(spec, failure="its worker was lost each time: " + "; or ".join(dict.fromkeys(reasons)) + "\n")


def _as_they_come(workers: int) -> dict[str, Any]:
    """Options of joblib: results as they come, and no task handed out before a worker is free."""
    return {"batch_size": 1, "pre_dispatch": workers, "return_as": "generator_unordered"}
