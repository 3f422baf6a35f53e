"""Observations made of parts: what an environment shows, and what a wrapper puts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

OBSERVATION = "observation"
"""Name of the part that the environment itself shows."""


class ScaledBox(spaces.Box):
    """Numbers that are parameters, scaled so that their ranges become [−1, 1].

    Another `Box` with `ranges` is equal if these are; one without says nothing about what its numbers are.

    Attributes:
        ranges: `(low, high)` by the names of the parameters, in their order.

    Args:
        low: Lower bounds, shape `(n,)`.
        high: Upper bounds, shape `(n,)`.
        ranges: Ranges by name.
        dtype: Type of the numbers.
    """

    def __init__(
        self, low: NDArray[Any], high: NDArray[Any], ranges: Mapping[str, tuple[float, float]], dtype: Any
    ) -> None:
        super().__init__(low, high, dtype=dtype)
        self.ranges = dict(ranges)

    def __eq__(self, other: Any) -> bool:
        """Whether another space has the same bounds, and numbers of the same meaning if it knows of one."""
        return bool(super().__eq__(other)) and _agree(self, other, "ranges")

    def __repr__(self) -> str:
        return f"ScaledBox({self.ranges}, {self.dtype})"


class PartedBox(spaces.Box):
    """A flat observation that knows its parts.

    Another `Box` with `parts` is equal if these and their `ranges` are; one without says nothing about its parts.

    Attributes:
        parts: Slices of the observation by the names of the parts, in their order.
        ranges: Ranges that the numbers of a part are scaled by, by the names of part and parameter; of scaled parts.

    Args:
        low: Lower bounds, shape `(n,)`.
        high: Upper bounds, shape `(n,)`.
        parts: Slices by name; together they cover the observation.
        dtype: Type of the numbers.
        ranges: Ranges by name of the scaled parts, see `ScaledBox`.
    """

    def __init__(
        self,
        low: NDArray[Any],
        high: NDArray[Any],
        parts: Mapping[str, slice],
        dtype: Any,
        ranges: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    ) -> None:
        super().__init__(low, high, dtype=dtype)
        self.parts = dict(parts)
        self.ranges = {name: dict(each) for name, each in (ranges or {}).items()}

    def __eq__(self, other: Any) -> bool:
        """Whether another space has the same bounds, and the same parts if it knows of any."""
        return bool(super().__eq__(other)) and _agree(self, other, "parts", "ranges")

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {part.stop - part.start}" for name, part in self.parts.items())
        scaled = "".join(f", {name} scaled by {each}" for name, each in self.ranges.items())
        return f"PartedBox({sizes}, {self.dtype}{scaled})"


def _agree(space: spaces.Box, other: Any, *names: str) -> bool:
    """Whether attributes are the same where both spaces have them; names of parameters in the same order."""
    pairs = [(getattr(space, name), getattr(other, name, None)) for name in names]
    return all(theirs is None or repr(ours) == repr(theirs) for ours, theirs in pairs)


def joined_space(space: spaces.Space[Any], name: str, part: spaces.Box, key: str | None) -> spaces.Space[Any]:
    """The space of observations with another part.

    Args:
        space: Space of a single environment's observations.
        name: Name of the part.
        part: Space of the part, of one dimension.
        key: Key of the part in a dictionary; None for a flat observation, or `name` where it is a dictionary already.

    Raises:
        TypeError: If `key` is no text.
        ValueError: If `key` is empty, there is such a part already, or the observation cannot be flat.
    """
    if not isinstance(key, str | None):
        raise TypeError(f"key must be text or None, got {key!r}")
    if key == "":
        raise ValueError("key must be text that is not empty, or None; got ''")
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
    parts |= {name: slice(size, len(low))}
    ranges = getattr(space, "ranges", {}) | ({name: part.ranges} if isinstance(part, ScaledBox) else {})
    return PartedBox(low.astype(dtype), high.astype(dtype), parts, dtype, ranges)


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
