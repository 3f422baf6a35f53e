"""Objects as others have built or wrapped them."""

from __future__ import annotations

from collections.abc import Container
from typing import Any


def as_instance(cls: Any, original: Any) -> Any:
    """An instance of ``cls``, which extends the class of ``original``, with the very attributes of ``original``.

    The constructor is not called: which arguments have built ``original`` is not known.
    """
    made = object.__new__(cls)
    made.__dict__ = original.__dict__
    return made


def uncompiled(module: Any) -> Any:
    """The network itself, where ``torch.compile(network)`` was given; parameters and gates are the same objects.

    The wrapper has the network's attributes but neither its class nor its parameters' names.
    """
    return getattr(module, "_orig_mod", module)


def free_name(name: str, taken: Container[str]) -> str:
    """``name`` with as few underscores behind it as it takes."""
    while name in taken:
        name += "_"
    return name
