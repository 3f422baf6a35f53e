"""Networks that `torch.compile` has wrapped."""

from __future__ import annotations

from typing import Any


def uncompiled(module: Any) -> Any:
    """The network itself, where ``torch.compile(network)`` was given; parameters and gates are the same objects.

    The wrapper has the network's attributes but neither its class nor its parameters' names.
    """
    return getattr(module, "_orig_mod", module)
