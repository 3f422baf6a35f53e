"""k-sets in a safetensors file: tensors and text, nothing that could run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch

from nb_agents.files import write_atomically
from nb_agents.fingerprint import Fingerprint

FORMAT = "nb_agents.Battery 1"


def write(
    path: str | os.PathLike[str], found: Fingerprint, k: Mapping[str, torch.Tensor], notes: Mapping[str, dict[str, Any]]
) -> None:
    """Write k-sets, at once or not at all.

    Args:
        path: The file; an older one is replaced.
        found: Fingerprint of the network.
        k: The k-sets by name, shape ``(n_k,)`` each.
        notes: What JSON can hold beside each, by the same names.

    Raises:
        ImportError: If safetensors is not installed.
    """
    safetensors = _safetensors()
    header = {
        "format": FORMAT,
        "architecture": found.architecture,
        "weights": found.weights,
        "metadata": json.dumps(notes),  # in the order of capture, which safetensors does not keep
    }
    content = safetensors.torch.save({name: tensor.cpu() for name, tensor in k.items()}, header)
    write_atomically(path, content)


def read(path: str | os.PathLike[str]) -> tuple[Fingerprint, dict[str, tuple[torch.Tensor, dict[str, Any]]]]:
    """Read what `write` wrote.

    Returns:
        The network's fingerprint, and by name the k-sets with what was noted beside them.

    Raises:
        ImportError: If safetensors is not installed.
        OSError: If the file cannot be read.
        ValueError: If it is truncated or of another kind.
    """
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if header.get("format") != FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
        notes = json.loads(header["metadata"])
        if not isinstance(notes, dict) or notes.keys() != tensors.keys():
            raise ValueError("its names do not agree with its k-sets")
        found = Fingerprint(header["architecture"], header["weights"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole file of k-sets: {error}") from None
    return found, {name: (tensors[name], note) for name, note in notes.items()}


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ImportError('files of k-sets need safetensors: pip install -e ".[battery]"') from error
    return safetensors
