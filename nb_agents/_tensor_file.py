"""Files of tensors and plain values: written whole, known by a digest, read without running anything in them."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from nb_evaluation.files import write_atomically

T = TypeVar("T")

MARK = b"\nsha256:"
"""Comes after torch's own archive, which stays readable by `torch.load`, and before the digest of all that precedes."""

DIGEST = 2 * hashlib.sha256().digest_size


def write_tensors(path: str | os.PathLike[str], kind: str, **content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and text, at once or not at all.

    Args:
        path: The file; an older one is replaced.
        kind: Name of what the file holds, for `read_tensors`.
        **content: Content by name.

    Raises:
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": f"{kind} 2", **content}, buffer)
    whole = buffer.getvalue() + MARK
    write_atomically(path, whole + hashlib.sha256(whole).hexdigest().encode())


def read_tensors(path: str | os.PathLike[str], kind: str, build: Callable[[Mapping[str, Any], int], T]) -> T:
    """Build something of a file of `write_tensors`, on the CPU; all but tensors and plain values is refused.

    Args:
        path: The file; one of the first format, which had no digest, is read too.
        kind: Name of what it has to hold.
        build: Function of the content and of the file's number of bytes, by which it refuses what claims to be larger.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or of another kind, or ``build`` fails.
    """
    whole = Path(path).read_bytes()
    try:
        archive, version = _verified(whole)
        _check_sizes(archive)
        content = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
        found = content.get("format") if isinstance(content, dict) else None
        if found != f"{kind} {version}":
            raise ValueError(f"its format is {found!r}" + (", but it has no digest" if found == f"{kind} 2" else ""))
        return build(content, len(whole))
    except Exception as error:  # what a damaged file makes torch's reader or a constructor raise is of any kind
        if isinstance(error, pickle.UnpicklingError):  # torch's own text goes on to say how to run it all the same
            reason = "it holds something other than tensors and plain values"
        else:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{os.fspath(path)!r} is not a whole file of {kind!r}: {reason}") from None


def _verified(whole: bytes) -> tuple[bytes, int]:
    """The archive, and the number of the format: files of the first had no digest."""
    archive, mark, digest = whole[: -DIGEST - len(MARK)], whole[-DIGEST - len(MARK) : -DIGEST], whole[-DIGEST:]
    if mark != MARK:
        return whole, 1
    if digest != hashlib.sha256(archive + mark).hexdigest().encode():
        raise ValueError("its bytes do not agree with its digest")
    return archive, 2


def _check_sizes(archive: bytes) -> None:
    """Refuse an archive that unpacks to more than it is itself; torch writes none, and would take memory for it."""
    if not zipfile.is_zipfile(io.BytesIO(archive)):
        return  # torch refuses it with better words
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
    if unpacked > len(archive):
        raise ValueError(f"its {len(archive)} bytes would unpack to {unpacked}")
