"""A job's folder: the runs in one packed file, those of a job that goes on beside it, and what the job was.

While a job goes on, each run that ends is a file of its own, so that a killed job loses none; when it has ended, all of
them are packed into `runs.jsonl.xz`, a line for each run, byte for byte as it was in its file. `xzcat` shows the
file, and pandas reads it (`read_json(..., lines=True)`).
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nb_evaluation.files import write_atomically
from nb_evaluation.runs.earlier import MADE_EARLIER, earlier_files
from nb_evaluation.runs.provenance import versions
from nb_evaluation.runs.records import INSTEAD, FinishedRun, UnreadableError, open_line
from nb_evaluation.seal import SEAL, add_seal

try:
    import fcntl
except ImportError:  # not a POSIX system: two jobs that end at once in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

PACK = "runs.jsonl.xz"
"""In each folder of runs: all that have been packed."""

JOB_FILE = "job.json"
"""In each folder of runs: the question that they answer, and the command that made them."""

_AND = " && "

Run = TypeVar("Run", bound=FinishedRun[Any, Any])


class Line(NamedTuple):
    """A run as it is stored.

    Attributes:
        content: The line, see `FinishedRun.to_line`.
        where: Where it stands, in words: a file's name, or a line's number in the packed file.
        name: Name that the run must have; None where the place does not say.
    """

    content: bytes
    where: str
    name: str | None = None


def read_lines(folder: Path) -> list[Line]:
    """All stored runs of a folder, the packed ones first; of two of the same name the later one counts.

    A job that packs the folder meanwhile is waited for: it moves runs from one place to the other.

    Raises:
        OSError: A file cannot be read.
        UnreadableError: The packed file is damaged as a whole, or a folder stands where a file should.
    """
    with _locked(folder, shared=True):
        return _read_all(folder)


def stored(lines: Iterable[Line], folder: Path) -> dict[tuple[str, int, str], tuple[Line, dict[str, Any]]]:
    """Each run once, whatever its kind, by method, seed and digest: its line, and what that holds.

    Raises:
        UnreadableError: A line is damaged, or holds no run.
    """
    runs = {}
    for line in lines:
        data = open_line(line.content, f"{folder}: {line.where}")
        runs[data["spec"]["method"], data["spec"]["seed"], data["digest"]] = line, data
    return runs


def pack(folder: Path) -> None:
    """Move the runs that have a file of their own into the packed one; older ones get the digest that they lack.

    Raises:
        OSError: The packed file cannot be written; the runs' own files are still there then.
        UnreadableError: The packed file is damaged, or a run's file is none.
    """
    with _locked(folder):
        loose = _loose(folder)
        if not loose:
            return
        runs = stored(_read_all(folder), folder)
        contents = [runs[key][0].content.strip() for key in sorted(runs)]
        sealed = [each if SEAL in json.loads(each) else add_seal(each) for each in contents]
        write_atomically(folder / PACK, lzma.compress(b"".join(each + b"\n" for each in sealed), preset=9))
        for path in loose:
            path.unlink(missing_ok=True)


def read_runs(folder: Path, kind: type[Run], shared: Mapping[str, Any], varies: tuple[str, ...] = ()) -> dict[str, Run]:
    """All runs in an output folder, by name.

    Args:
        folder: Folder of the runs; may not exist yet.
        kind: The runs' kind.
        shared: What every run there has to agree with, see `Specification.shared`.
        varies: Fields of the specification in which the runs may differ nevertheless.

    Raises:
        UnreadableError: A file is damaged or was made by an earlier version, or a run is of another specification or
            made with other package versions.
    """
    for path in earlier_files(folder):
        raise UnreadableError(f"{folder}: {path.name} {MADE_EARLIER}: choose another --out")
    found = [kind.from_line(line.content, f"{folder}: {line.where}", line.name) for line in read_lines(folder)]
    runs = {run.spec.name: run for run in found}
    here = compared(shared, versions(), varies)
    for name, run in runs.items():
        there = compared(run.spec.shared, run.versions, varies)
        names = differing(there, here)
        if names:
            differences = [f"{each} is {there.get(each)} there and {here.get(each)} here" for each in names]
            raise UnreadableError(
                f"{folder} holds runs of another specification ({name}): {'; '.join(differences)}."
                " Choose another output folder"
            )
    return runs


def compared(shared: Mapping[str, Any], packages: Mapping[str, str], varies: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the runs of one folder have to agree on, by its name in a message.

    Args:
        shared: See `Specification.shared`.
        packages: Versions by package.
        varies: Fields of the specification in which the runs may differ nevertheless.
    """
    kept = {name: value for name, value in shared.items() if name.partition(".")[0] not in varies}
    return kept | {f"version of {package}": number for package, number in packages.items()}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names under which two mappings do not hold the same."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def write_job(folder: Path, question: str, command: str) -> None:
    """Leave word in a folder of runs: the question's name, and the command line that made them.

    Where several commands of one question have filled the folder, it names all of them, joined by `&&`.
    """
    path = folder / JOB_FILE
    try:
        known = json.loads(path.read_bytes())
        earlier = known["command"].split(_AND) if known["question"] == question else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or a damaged one
        earlier = []
    commands = _AND.join(dict.fromkeys([*earlier, command]))
    write_atomically(path, json.dumps({"question": question, "command": commands}).encode())


def _loose(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.name != JOB_FILE)


def _read_all(folder: Path) -> list[Line]:
    pack_file = folder / PACK
    packed = enumerate(_unpack(pack_file) if pack_file.exists() else [], start=1)
    lines = [Line(content, f"line {number} of {PACK}") for number, content in packed]
    return lines + [Line(_read(path), path.name, path.stem) for path in _loose(folder)]


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UnreadableError(f"{path} is a folder, where a file of runs should be: {INSTEAD}")
    return path.read_bytes()


def _unpack(path: Path) -> list[bytes]:
    rest, content = _read(path), b""
    try:
        while True:  # a stream after another, as xz has it, and nothing else behind the last
            decompressor = lzma.LZMADecompressor()
            content += decompressor.decompress(rest)
            if not decompressor.eof:
                raise lzma.LZMAError("it ends too early")
            rest = decompressor.unused_data
            if not rest:
                return content.splitlines()
    except lzma.LZMAError as error:
        reason = f"{path} is damaged ({error})"
        raise UnreadableError(f"{reason}: take it from its source again, or remove it") from error


@contextmanager
def _locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """Keep other processes from packing the same folder at the same time; readers share it, where it can be locked."""
    if fcntl is None or (shared and not folder.is_dir()):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(*([OSError] if shared else [])):
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
