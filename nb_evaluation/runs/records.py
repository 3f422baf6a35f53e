"""A finished run: what it holds, how it is written as one line, and how that line is checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from typing_extensions import Self

from nb_evaluation.files import write_atomically
from nb_evaluation.runs.earlier import MADE_EARLIER, is_earlier
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_types, seal, unseal

Spec = TypeVar("Spec", bound=Specification)
Result = TypeVar("Result")

ENTRIES = {
    "spec": dict[str, Any],
    "result": dict[str, Any],
    "versions": dict[str, str],
    "commit": str | None,
    "wall_seconds": float,
    "cpu_seconds": float,
    "digest": str,
}
"""What every run holds, whatever its kind."""

INSTEAD = "move it elsewhere, or choose another folder"


class UnreadableError(ValueError):
    """Something among the runs is no run, or a damaged one."""


def open_line(line: bytes, where: str) -> dict[str, Any]:
    """What a stored run holds, whatever its kind: `ENTRIES`, and its kind's figures.

    Args:
        line: What `FinishedRun.to_line` gave.
        where: Place of the line, for messages.

    Raises:
        UnreadableError: The line is damaged, or holds no run.
    """
    try:
        data = unseal(line)
    except TypeError as error:
        raise UnreadableError(f"{where} is not a run ({error}): {INSTEAD}") from error
    except (RecursionError, ValueError) as error:
        raise UnreadableError(f"{where} is not a run, or a damaged one ({error!r}): remove it") from error
    if is_earlier(data):
        raise UnreadableError(f"{where} {MADE_EARLIER}: choose another folder")
    if lacking := [name for name in ENTRIES if name not in data]:
        raise UnreadableError(f"{where} is not a run (it has no {', '.join(lacking)}): {INSTEAD}")
    try:
        for name, kind in ENTRIES.items():
            check_types(name, data[name], kind)
        check_types("spec.method", data["spec"].get("method"), str)
        check_types("spec.seed", data["spec"].get("seed"), int)
    except TypeError as error:
        raise UnreadableError(f"{where} is not a run, or a damaged one ({error!r}): {INSTEAD}") from error
    return data


@dataclass(frozen=True)
class FinishedRun(Generic[Spec, Result]):
    """A finished run; a question's own kind names its specification and its result.

    Attributes:
        spec: What was run.
        result: What the run gave; a dataclass.
        versions: Versions of Python and of `provenance.PACKAGES`.
        commit: Commit of the code, with "-dirty" where files had changed; None outside a repository.
        wall_seconds: Seconds from start to end.
        cpu_seconds: Processor time of the worker process in the same span, seconds.
    """

    spec_type: ClassVar[type[Any]]
    result_type: ClassVar[type[Any]]

    spec: Spec
    result: Result
    versions: dict[str, str]
    commit: str | None
    wall_seconds: float
    cpu_seconds: float

    @classmethod
    def parse(cls, result: dict[str, Any]) -> Result:
        """The result from JSON's types.

        Raises:
            KeyError: A field is missing.
            TypeError: A field is missing, unknown, or of another type.
            ValueError: A field is out of range.
        """
        made: Result = cls.result_type(**result)
        return made

    def check(self) -> None:
        """Make sure that the parts of a result agree with each other; their types do already.

        Raises:
            ValueError: They do not.
        """

    def figures(self) -> dict[str, Any]:
        """What the line holds besides, for whoever reads it without this code."""
        return {}

    def to_line(self) -> bytes:
        """The run as one line of JSON, with a digest of itself."""
        data = asdict(self) | {"digest": self.spec.digest} | self.figures()
        return seal(data, allow_nan=False)

    def write(self, folder: Path) -> Path:
        """Write the line as the file `<name>.json`; a reader finds the whole of it or nothing."""
        path = folder / f"{self.spec.name}.json"
        write_atomically(path, self.to_line())
        return path

    @classmethod
    def from_line(cls, line: bytes, where: str, name: str | None = None) -> Self:
        """Read a run.

        Args:
            line: What `to_line` gave.
            where: Place of the line, for messages.
            name: Name that the run must have; None where the place does not say.

        Raises:
            UnreadableError: The line is no run of this kind, is damaged, or holds another specification than it or its
                name says.
        """
        data = open_line(line, where)
        try:
            spec, result = cls.spec_type.from_json(data["spec"]), cls.parse(data["result"])
            run = cls(spec, result, *(data[each.name] for each in fields(cls)[2:]))
            digest, its_name = spec.digest, spec.name
        except Exception as error:  # what a damaged line makes the parsers raise is of any kind
            raise UnreadableError(f"{where} is not a run, or a damaged one ({error!r}): {INSTEAD}") from error
        if data["digest"] != digest:
            raise UnreadableError(f"{where} was made by another version of the code: choose another output folder")
        if name not in (None, its_name):
            raise UnreadableError(f"{where} holds the run {its_name}: give it the name {its_name}.json, or {INSTEAD}")
        try:
            run._check_all({name: each for name, each in data.items() if name not in ENTRIES})
        except Exception as error:
            raise UnreadableError(f"{where} is not a run, or a damaged one ({error!r}): {INSTEAD}") from error
        return run

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run's own file, see `from_line`."""
        return cls.from_line(path.read_bytes(), str(path), path.stem)

    def _check_all(self, figures: dict[str, Any]) -> None:
        check_types("spec", self.spec, type(self.spec))
        check_types("result", self.result, type(self.result))
        self.check()
        if figures.keys() != self.figures().keys():  # a damaged name, the digest's among them
            raise ValueError(f"it holds {sorted(figures)}, and not {sorted(self.figures())}, besides the run")
