"""k-sets in a safetensors file: tensors and text, nothing that could run; known by a digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import torch

from nb_agents.battery.fingerprint import Fingerprint
from nb_evaluation.files import write_atomically

FORMAT = "nb_agents.Battery 2"
FORMER = "nb_agents.Battery 1"
"""Had no digest; is read, not written."""

_NO_DIGEST = b"0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')
"""The header's entry. In no other place are there such bytes: within JSON's text, quotation marks are escaped."""


def write(
    path: str | os.PathLike[str], found: Fingerprint, k: Mapping[str, torch.Tensor], notes: Mapping[str, dict[str, Any]]
) -> None:
    """Write k-sets, at once or not at all.

    Args:
        path: The file; an older one is replaced.
        found: Fingerprint of the network.
        k: The k-sets by name, shape ``(n_k,)`` each.
        notes: Notes beside each, anything that JSON can hold, by the same names.

    Raises:
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be written.
    """
    safetensors = _safetensors()
    header = {
        "format": FORMAT,
        "architecture": found.architecture,
        "weights": found.weights,
        "metadata": json.dumps(notes),  # in the order of capture, which safetensors does not keep
        "digest": _NO_DIGEST.decode(),  # of the whole file, computed with zeros here
    } | ({"gates": found.kind} if found.kind != Fingerprint.kind else {})
    content = safetensors.torch.save({name: tensor.cpu() for name, tensor in k.items()}, header)
    place = _DIGEST.search(content)
    assert place is not None
    digest = hashlib.sha256(content).hexdigest().encode()
    write_atomically(path, content[: place.start(1)] + digest + content[place.end(1) :])


def read(path: str | os.PathLike[str]) -> tuple[Fingerprint, dict[str, tuple[torch.Tensor, dict[str, Any]]]]:
    """Read what `write` wrote.

    Returns:
        The network's fingerprint, and by name the k-sets with what was noted beside them.

    Raises:
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be read.
        ValueError: If it is truncated, damaged or of another kind.
    """
    safetensors = _safetensors()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size)  # no more, should it be a device that never ends
    try:
        header = _header(content)
        if header.get("format") not in (FORMAT, FORMER):
            raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
        if header["format"] == FORMAT:
            _verify(content)
        tensors = safetensors.torch.load(content)
        notes = json.loads(header["metadata"])
        if not isinstance(notes, dict) or notes.keys() != tensors.keys():
            raise ValueError("its names do not agree with its k-sets")
        found = Fingerprint(header["architecture"], header["weights"], header.get("gates", Fingerprint.kind))
    except Exception as error:  # what a damaged file makes the two readers raise is of any kind
        raise not_whole(path, error) from None
    return found, {name: (tensors[name], note) for name, note in notes.items()}


def not_whole(path: str | os.PathLike[str], reason: Exception) -> ValueError:
    """The error by which a file of k-sets is refused."""
    name = "" if isinstance(reason, ValueError) else f"{type(reason).__name__}: "
    return ValueError(f"{os.fspath(path)!r} is not a whole file of k-sets: {name}{reason}")


def _header(content: bytes) -> dict[str, Any]:
    """The text beside the tensors, without a look at these."""
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= len(content) - 8:
        raise ValueError(f"it has {len(content)} bytes, too few for its own header")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError("its header is of another kind")
    text: dict[str, Any] = header.get("__metadata__", {})
    return text


def _verify(content: bytes) -> None:
    entries = list(_DIGEST.finditer(content, 8, 8 + int.from_bytes(content[:8], "little")))
    if len(entries) != 1:
        raise ValueError("it has no digest")
    start, end = entries[0].span(1)
    if hashlib.sha256(content[:start] + _NO_DIGEST + content[end:]).hexdigest().encode() != content[start:end]:
        raise ValueError("its bytes do not agree with its digest")


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ImportError('files of k-sets need safetensors: pip install "neural-battery[battery]"') from error
    return safetensors


def plain(metadata: Any) -> dict[str, Any]:
    """``metadata`` as a file gives it back.

    Raises:
        TypeError: If it is no mapping of what JSON can hold.
    """
    if not isinstance(metadata, Mapping | None):
        raise TypeError(f"metadata must be a mapping or None, got {metadata!r}")
    try:
        return json.loads(json.dumps(dict(metadata or {}), allow_nan=False))  # type: ignore[no-any-return]
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata must be what JSON can hold ({error}), got {metadata!r}") from None
