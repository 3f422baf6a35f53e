"""k-sets in a safetensors file: tensors and text, nothing that could run; known by a digest."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import torch

from nb_agents.battery.dynamics import Dynamics
from nb_agents.battery.fingerprint import Fingerprint
from nb_agents.battery.k_set import KSet
from nb_evaluation.files import write_atomically
from nb_runtime import DIGEST, FORMAT, NO_DIGEST, not_whole, read_k_sets


def write(path: str | os.PathLike[str], found: Fingerprint, k_sets: Mapping[str, KSet]) -> None:
    """Write k-sets, at once or not at all.

    Args:
        path: The file; an older one is replaced.
        found: Fingerprint of the network.
        k_sets: The k-sets by name.

    Raises:
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be written.
    """
    safetensors = safetensors_package()
    notes = {name: k_set.metadata for name, k_set in k_sets.items()}
    dynamics = {name: k_set.dynamics for name, k_set in k_sets.items() if k_set.dynamics is not None}
    header = {
        "format": FORMAT,
        "metadata": json.dumps(notes),  # in the order of capture, which safetensors does not keep
    } | found.header()
    if dynamics:  # as text, for tensors are k-sets: whoever needs no dynamics passes over it, earlier versions too
        written = {name: safetensors.numpy.save(model.arrays()) for name, model in dynamics.items()}
        header["dynamics"] = json.dumps({name: b64encode(each).decode() for name, each in written.items()})
    write_atomically(path, sealed({name: k_set.k.cpu() for name, k_set in k_sets.items()}, header))


def sealed(tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> bytes:
    """A safetensors file whose header holds a digest of the whole file, computed with zeros in its place.

    Raises:
        ImportError: If safetensors is not installed.
    """
    content: bytes = safetensors_package().torch.save(dict(tensors), {**header, "digest": NO_DIGEST.decode()})
    place = DIGEST.search(content)
    assert place is not None
    return content[: place.start(1)] + hashlib.sha256(content).hexdigest().encode() + content[place.end(1) :]


def read(
    path: str | os.PathLike[str],
) -> tuple[Fingerprint, dict[str, tuple[torch.Tensor, dict[str, Any], Dynamics | None]]]:
    """Read what `write` wrote.

    Returns:
        The network's fingerprint, and by name the k-sets with what was noted beside them and their dynamics.

    Raises:
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be read.
        ValueError: If it is truncated, damaged or of another kind.
    """
    safetensors = safetensors_package()
    content, text, _ = read_k_sets(path)
    try:
        tensors = safetensors.torch.load(content)
        notes = json.loads(text["metadata"])
        if not isinstance(notes, dict) or notes.keys() != tensors.keys():
            raise ValueError("its names do not agree with its k-sets")
        kept: dict[str, str] = json.loads(text.get("dynamics", "{}"))
        if not kept.keys() <= notes.keys():
            raise ValueError("the names of its dynamics do not agree with its k-sets")
        load = safetensors.numpy.load
        dynamics = {name: Dynamics.of(load(b64decode(each, validate=True))) for name, each in kept.items()}
        found = Fingerprint.of(text)
    except Exception as error:  # what a damaged file makes the two readers raise is of any kind
        raise not_whole(path, error) from None
    return found, {name: (tensors[name], note, dynamics.get(name)) for name, note in notes.items()}


def safetensors_package() -> Any:
    """The package, imported where it is needed.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import safetensors
        import safetensors.numpy
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
