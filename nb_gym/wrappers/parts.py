"""Observations made of parts: what an environment shows, and what a wrapper puts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

OBSERVATION = "observation"
"""Name of the part that the environment itself shows."""


class PartedBox(spaces.Box):
    """A flat observation that knows its parts.

    Attributes:
        parts: Slices of the observation by the names of the parts, in their order.

    Args:
        low: Lower bounds, shape `(n,)`.
        high: Upper bounds, shape `(n,)`.
        parts: Slices by name; together they cover the observation.
        dtype: Type of the numbers.
    """

    def __init__(self, low: NDArray[Any], high: NDArray[Any], parts: Mapping[str, slice], dtype: Any) -> None:
        super().__init__(low, high, dtype=dtype)
        self.parts = dict(parts)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {part.stop - part.start}" for name, part in self.parts.items())
        return f"PartedBox({sizes}, {self.dtype})"


def joined_space(space: spaces.Space[Any], name: str, part: spaces.Box, key: str | None) -> spaces.Space[Any]:
    """The space of observations with another part.

    Args:
        space: Space of a single environment's observations.
        name: Name of the part.
        part: Space of the part, of one dimension.
        key: Key of the part in a dictionary; None for a flat observation, or `name` where it is a dictionary already.

    Raises:
        ValueError: If there is such a part already, or the observation cannot be flat.
    """
    if isinstance(space, spaces.Dict) or key is not None:
        entries = space.spaces if isinstance(space, spaces.Dict) else {OBSERVATION: space}
        name = key or name
        if name in entries:
            raise ValueError(f"key must be a new one, got {name!r} beside {list(entries)}")
        return spaces.Dict({**entries, name: part})
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"key must be given where the observation is no Box of one dimension, got None for {space}")
    parts = parts_of(space)
    if name in parts:
        raise ValueError(f"the observation has a part {name!r} already, beside {list(parts)}")
    low, high = (np.concatenate(ends) for ends in ((space.low, part.low), (space.high, part.high)))
    size = space.shape[0]
    dtype = space.dtype if np.issubdtype(space.dtype, np.floating) else np.dtype(np.float32)
    return PartedBox(low.astype(dtype), high.astype(dtype), parts | {name: slice(size, len(low))}, dtype)


def parts_of(space: spaces.Box) -> dict[str, slice]:
    """The parts of a flat observation; the environment's own alone where it has no others."""
    parts: dict[str, slice] = getattr(space, "parts", {OBSERVATION: slice(0, space.shape[0])})
    return parts


def join(space: spaces.Space[Any], observation: Any, part: NDArray[Any], name: str) -> Any:
    """An observation with another part.

    Args:
        space: Answer of `joined_space`.
        observation: Observation of one environment, or of many.
        part: The part, with a leading axis where there are many.
        name: Key of the part in a dictionary.
    """
    if isinstance(space, spaces.Dict):
        entries = observation if isinstance(observation, Mapping) else {OBSERVATION: observation}
        return {**entries, name: part}
    return np.concatenate([observation, part], axis=-1, dtype=space.dtype, casting="unsafe")


def own_space(space: spaces.Space[Any]) -> spaces.Box:
    """The space of what the environment itself shows, of one dimension.

    Raises:
        ValueError: If there is no such part.
    """
    own = space.spaces.get(OBSERVATION) if isinstance(space, spaces.Dict) else space
    if not isinstance(own, spaces.Box) or len(own.shape) != 1:
        raise ValueError(
            f"the observation must be a Box of one dimension, or a dictionary with such an {OBSERVATION!r}; got {space}"
        )
    part = parts_of(own)[OBSERVATION]
    return spaces.Box(own.low[part], own.high[part], dtype=own.low.dtype.type)


def own_part(space: spaces.Space[Any], observation: Any) -> NDArray[Any]:
    """What the environment itself shows, of an observation of `space` or of a batch of them."""
    if isinstance(space, spaces.Dict):
        return np.asarray(observation[OBSERVATION])
    assert isinstance(space, spaces.Box)
    return np.asarray(observation)[..., parts_of(space)[OBSERVATION]]


def bounded(low: ArrayLike, high: ArrayLike) -> spaces.Box:
    """A box of float32."""
    return spaces.Box(np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32), dtype=np.float32)
