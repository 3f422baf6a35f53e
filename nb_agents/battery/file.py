"""k-sets in a safetensors file: tensors and text, nothing that could run; known by a digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import torch

from nb_agents.battery.fingerprint import Fingerprint
from nb_evaluation.files import write_atomically
from nb_runtime import DIGEST, FORMAT, NO_DIGEST, not_whole, read_k_sets


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
        "metadata": json.dumps(notes),  # in the order of capture, which safetensors does not keep
        "digest": NO_DIGEST.decode(),  # of the whole file, computed with zeros here
    } | found.header()
    content = safetensors.torch.save({name: tensor.cpu() for name, tensor in k.items()}, header)
    place = DIGEST.search(content)
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
    content, text, _ = read_k_sets(path)
    try:
        tensors = safetensors.torch.load(content)
        notes = json.loads(text["metadata"])
        if not isinstance(notes, dict) or notes.keys() != tensors.keys():
            raise ValueError("its names do not agree with its k-sets")
        found = Fingerprint.of(text)
    except Exception as error:  # what a damaged file makes the two readers raise is of any kind
        raise not_whole(path, error) from None
    return found, {name: (tensors[name], note) for name, note in notes.items()}


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
