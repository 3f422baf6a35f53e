"""Run files: one JSON file per run, written in one piece, checked when read."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.protocol.experiment import RunResult
from benchmarks.protocol.landscape import DRIVES, GRID_DRIVES, GRID_GAINS, Landscape
from benchmarks.protocol.recorder import Curve
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from benchmarks.protocol.summary import Summary, summarise
from nb_evaluation.files import write_atomically
from nb_evaluation.seal import check_lengths, check_types, seal, unseal

PACKAGES = ("neural-battery", "gymnasium", "stable-baselines3", "torch", "numpy")
"""The packages that could change a result; their versions are part of every run file."""


JOB_FILE = "job.json"
"""In each folder of run files: what question they answer, and the command that made them."""

_AND = " && "


Spec = TypeVar("Spec", bound=RunSpec)
Result = TypeVar("Result")
Self = TypeVar("Self", bound="FinishedRun[Any, Any]")


@dataclass(frozen=True)
class FinishedRun(Generic[Spec, Result]):
    """A finished run of any question, as its file tells it; `Run` is the transfer's.

    Attributes:
        spec: what was run.
        result: what came out.
        versions: of Python and `PACKAGES`.
        commit: of the code, with "-dirty" where files had changed; None outside a repository.
        wall_seconds: from start to end.
        cpu_seconds: of the worker process, in the same span.
    """

    spec: Spec
    result: Result
    versions: dict[str, str]
    commit: str | None
    wall_seconds: float
    cpu_seconds: float

    @classmethod
    def parse(cls, spec: dict[str, Any], result: dict[str, Any]) -> tuple[Spec, Result]:
        """Specification and result from JSON's types.

        Raises:
            KeyError: a field is missing.
            TypeError: a field is missing, unknown, or of another type.
            ValueError: a field is out of range.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Make sure that the parts of a result agree with each other; their types do already.

        Raises:
            ValueError: they do not.
        """

    def figures(self) -> dict[str, Any]:
        """What the file holds besides, for whoever reads it without this code."""
        return {}

    def write(self, folder: Path) -> Path:
        """Write the file `<name>.json`; a reader finds the whole of it or nothing."""
        data = asdict(self) | {"digest": self.spec.digest} | self.figures()
        path = folder / f"{self.spec.name}.json"
        write_atomically(path, seal(data, allow_nan=False))
        return path

    @classmethod
    def read(cls: type[Self], path: Path) -> Self:
        """Read a run file.

        Raises:
            ValueError: the file is not one, is damaged, or holds another specification than it or its name says.
        """
        content = path.read_bytes()
        try:
            data = unseal(content)
            spec, result = cls.parse(data.pop("spec"), data.pop("result"))
            told, digest, name = data.pop("digest"), spec.digest, spec.name
            run = cls(spec, result, *(data.pop(name) for name in ("versions", "commit", "wall_seconds", "cpu_seconds")))
        except Exception as error:  # what a damaged file makes the parsers raise is of any kind
            raise ValueError(f"{path} is not a run file, or a damaged one ({error!r}): remove it") from error
        if told != digest:
            raise ValueError(f"{path} was made by another version of the benchmarks: choose another output folder")
        if path.stem != name:
            raise ValueError(f"{path} holds the run {name}: give it the name {name}.json, or remove it")
        try:
            run._check_all(data)
        except Exception as error:
            raise ValueError(f"{path} is not a run file, or a damaged one ({error!r}): remove it") from error
        return run

    def _check_all(self, figures: dict[str, Any]) -> None:
        check_types("spec", self.spec, type(self.spec))
        check_types("result", self.result, type(self.result))
        check_types("versions", self.versions, dict[str, str])
        check_types("commit", self.commit, str | None)
        check_types("wall_seconds", self.wall_seconds, float)
        check_types("cpu_seconds", self.cpu_seconds, float)
        self.check()
        if figures.keys() != self.figures().keys():  # a damaged name, the digest's among them
            raise ValueError(f"it holds {sorted(figures)}, and not {sorted(self.figures())}, besides the run")


@dataclass(frozen=True)
class Run(FinishedRun[RunSpec, RunResult]):
    """A finished run of one transfer."""

    @cached_property
    def summary(self) -> Summary:
        """The figures of the tables."""
        return summarise(self.spec, self.result)

    @classmethod
    def parse(cls, spec: dict[str, Any], result: dict[str, Any]) -> tuple[RunSpec, RunResult]:
        """See `FinishedRun.parse`."""
        return RunSpec.from_json(spec), _result(result)

    def check(self) -> None:
        """See `FinishedRun.check`."""
        curve, result = self.result.curve, self.result
        for name in ("source", "target"):
            check_lengths(f"curve.{name}", getattr(curve, name), len(curve.steps))
        if sorted(set(curve.steps)) != list(curve.steps):
            raise ValueError(f"curve.steps must rise, got {curve.steps!r:.60}")
        for name in ("torques_before", "torques_after"):
            check_lengths(name, getattr(result, name), EPISODE_STEPS // self.spec.settings.frame_skip)
        for each in filter(None, (result.landscape_before, result.landscape_after)):
            check_lengths("over_drive", each.over_drive, len(DRIVES))
            check_lengths("over_drive_and_gain", each.over_drive_and_gain, len(GRID_DRIVES), len(GRID_GAINS))
        if result.k_sets is not None:
            check_lengths("k_sets", result.k_sets, 2, len(result.k_sets[0]))

    def figures(self) -> dict[str, Any]:
        """The summary."""
        return {"summary": asdict(self.summary)}


def _result(data: dict[str, Any]) -> RunResult:
    parts: dict[str, Any] = {"curve": Curve(**data["curve"])}
    for name in ("landscape_before", "landscape_after"):
        parts[name] = None if data[name] is None else Landscape(**data[name])
    return RunResult(**data | parts)


def read_runs(
    folder: Path,
    shared: dict[str, Any],
    *,
    kind: type[Self] = Run,  # type: ignore[assignment]  # the default of `Self`, so to speak
    varies: tuple[str, ...] = (),
) -> dict[str, Self]:
    """All runs in an output folder, by name.

    Args:
        folder: may not exist yet.
        shared: what every run there has to agree with, see `RunSpec.shared`.
        kind: the run files' kind.
        varies: fields of the specification in which the runs may differ nevertheless.

    Raises:
        ValueError: a file is damaged, or a run is of another specification or made with other package versions.
    """
    runs = {path.stem: kind.read(path) for path in sorted(folder.glob("*.json")) if path.name != JOB_FILE}
    here = compared(shared, versions(), varies)
    for name, run in runs.items():
        there = compared(run.spec.shared, run.versions, varies)
        differences = [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in sorted(there.keys() | here.keys())
            if there.get(key) != here.get(key)
        ]
        if differences:
            raise ValueError(
                f"{folder} holds runs of another specification ({name}.json): {'; '.join(differences)}."
                " Choose another output folder, or remove that one"
            )
    return runs


def compared(shared: dict[str, Any], packages: dict[str, str], varies: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the runs of one folder have to agree on, by its name in a message.

    Args:
        shared: of a specification, see `RunSpec.shared`.
        packages: versions by package.
        varies: fields of the specification in which the runs may differ nevertheless.
    """
    kept = {name: value for name, value in shared.items() if name.partition(".")[0] not in varies}
    return kept | {f"version of {package}": number for package, number in packages.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`."""
    return {"python": platform.python_version()} | {package: metadata.version(package) for package in PACKAGES}


def commit() -> str | None:
    """The checked-out commit of this code, with "-dirty" where tracked files have changed; None if there is none.

    Results may change: a job adds to them while it goes on.
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!results")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> dict[str, Any]:
    """The processor's model and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": next(iter(models), "") or platform.processor() or platform.machine(), "cores": os.cpu_count()}


def write_job(folder: Path, question: str, command: str) -> None:
    """Leave word in a folder of run files: the name of the script, and the command line that made them.

    Where several commands of one question have filled the folder, all of them are told, joined by ``&&``.
    """
    path = folder / JOB_FILE
    try:
        known = json.loads(path.read_bytes())
        earlier = known["command"].split(_AND) if known["question"] == question else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or a damaged one
        earlier = []
    commands = _AND.join(dict.fromkeys([*earlier, command]))
    write_atomically(path, json.dumps({"question": question, "command": commands}).encode())


def write_measurement(path: Path, **figures: Any) -> None:
    """Write measured speeds, with what they depend on: versions, commit and machine."""
    report = {"versions": versions(), "commit": commit(), "machine": machine()} | figures
    write_atomically(path, seal(report, indent=1))
