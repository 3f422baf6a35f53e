"""Objects that others have built, as instances of a class that extends theirs."""

from __future__ import annotations

from typing import Any


def as_instance(cls: Any, original: Any) -> Any:
    """An instance of ``cls``, which extends the class of ``original``, with the very attributes of ``original``.

    The constructor is not called: which arguments have built ``original`` is not known.
    """
    made = object.__new__(cls)
    made.__dict__ = original.__dict__
    return made
