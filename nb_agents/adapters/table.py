"""The kinds of adapters by name; a new one is a file beside these, and a line here."""

from __future__ import annotations

from typing import Any

from nb_agents.adapters.biases import Biases
from nb_agents.adapters.gates import Gates
from nb_agents.adapters.head import Head
from nb_agents.adapters.kind import Adapter
from nb_agents.adapters.lora import LoRA

ADAPTERS: dict[str, Adapter] = {each.name: each for each in (Gates(), Head(), Biases(), LoRA())}
"""New ones come last: state dicts hold what trains as a position in this order."""


def adapter_named(name: Any) -> Adapter:
    """A kind by its name.

    Raises:
        ValueError: If there is none.
    """
    if not isinstance(name, str) or name not in ADAPTERS:
        raise ValueError(f"adapter must be one of {tuple(ADAPTERS)}, got {name!r}")
    return ADAPTERS[name]
