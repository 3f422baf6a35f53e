"""A context as a policy observes it: numbers that are scaled already, or parameters by name, which are scaled here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import logger, spaces
from numpy.typing import ArrayLike, NDArray

from nb_agents._checks import check_number
from nb_agents.inference.conditioned import conditioned_nets

FAR = 2.0
"""Size from which on a scaled number is far outside its range, which is [-1, 1]; as `nb_gym.wrappers` say it."""


def context_numbers(policy: Any, context: ArrayLike | Mapping[str, float]) -> NDArray[np.float32]:
    """What the policy's f sees in a context, shape ``(n_given,)``.

    Args:
        policy: A policy with ``k_from``.
        context: Numbers as they are observed; or, where the observation's space knows the ranges that scale it, as that
            of `nb_gym.wrappers.ContextObservation` does, values by the parameters' names, as ``info["context"]``.

    Raises:
        TypeError: If it holds something else than numbers.
        ValueError: If it has another shape, is not finite, lacks a parameter, or has names that nothing is known of.
    """
    n, ranges = len(next(conditioned_nets(policy)).given), _ranges(policy.observation_space, policy.k_from)
    numbers = _scaled(context, ranges) if isinstance(context, Mapping) else _array(context, n)
    if ranges and (far := np.abs(numbers) > FAR).any():
        names = ", ".join(np.array(list(ranges))[far])
        logger.warn(f"the context is far outside the ranges that scale it: {names} of {ranges}")
    return numbers.astype(np.float32)


def _array(context: ArrayLike, n: int) -> NDArray[np.float64]:
    accepted = f"context must be {n} finite numbers, as they are observed, in an array of shape ({n},)"
    try:
        numbers = np.asarray(context)
        kind = numbers.dtype.kind
    except (TypeError, ValueError):  # as lists of several lengths
        kind = "O"
    if kind not in "biuf":
        raise TypeError(f"{accepted}; got {context!r}")
    if numbers.shape != (n,) or not np.isfinite(numbers.astype(np.float32)).all():
        raise ValueError(f"{accepted}; got {context!r}")
    return numbers.astype(np.float64)


def _scaled(context: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> NDArray[np.float64]:
    if not ranges:
        raise ValueError(f"context must be numbers as they are observed: the observation's space does not know their "
                         f"names and ranges; got {context!r}")  # fmt: skip
    for name in ranges:
        if name not in context:
            raise ValueError(f"context must hold {name!r}, which is observed; got {list(context)}")
    values = np.array([check_number(f"context[{name!r}]", context[name]) for name in ranges])
    low, high = np.array(list(ranges.values())).T
    scaled: NDArray[np.float64] = (values - 0.5 * (low + high)) / (0.5 * (high - low))
    return scaled


def _ranges(space: spaces.Space[Any], part: str) -> Mapping[str, tuple[float, float]]:
    """The ranges that scale a part of the observation; empty if they are not known."""
    if isinstance(space, spaces.Dict):
        return getattr(space[part], "ranges", {})
    found: Mapping[str, tuple[float, float]] = getattr(space, "ranges", {}).get(part, {})
    return found
