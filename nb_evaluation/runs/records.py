"""A finished run: what it holds, how it is written as one line, and how that line is checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from typing_extensions import Self

from nb_evaluation.files import write_atomically
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_types, seal, unseal

Spec = TypeVar("Spec", bound=Specification)
Result = TypeVar("Result")


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
            ValueError: The line is no run of this kind, is damaged, or holds another specification than it or its name
                says.
        """
        try:
            data = unseal(line)
            spec, result = cls.spec_type.from_json(data.pop("spec")), cls.parse(data.pop("result"))
            stated, digest, its_name = data.pop("digest"), spec.digest, spec.name
            rest = [data.pop(field) for field in ("versions", "commit", "wall_seconds", "cpu_seconds")]
            run = cls(spec, result, *rest)
        except Exception as error:  # what a damaged line makes the parsers raise is of any kind
            raise ValueError(f"{where} is not a run, or a damaged one ({error!r}): remove it") from error
        if stated != digest:
            raise ValueError(f"{where} was made by another version of the benchmarks: choose another output folder")
        if name not in (None, its_name):
            raise ValueError(f"{where} holds the run {its_name}: give it the name {its_name}.json, or remove it")
        try:
            run._check_all(data)
        except Exception as error:
            raise ValueError(f"{where} is not a run, or a damaged one ({error!r}): remove it") from error
        return run

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run's own file, see `from_line`."""
        return cls.from_line(path.read_bytes(), str(path), path.stem)

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
