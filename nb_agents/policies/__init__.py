"""Policies of SB3 with gates: how they are built, trained, saved, and what of them trains."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Find a policy's class where models name it that were saved when this room was a file."""
    from nb_agents.policies import sb3

    if name.startswith("KGated") and hasattr(sb3, name):
        return getattr(sb3, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
