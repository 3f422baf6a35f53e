"""Observations, infos, seeds and options of Gymnasium's vector environments, in the form of SB3's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_ARRAYS_IN_WORDS = "Box, Discrete, MultiDiscrete or MultiBinary"


def check_spaces(observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
    """Refuse the spaces of one environment whose batches are not arrays.

    Raises:
        ValueError: If SB3's buffers cannot hold them.
    """
    parts: Sequence[spaces.Space[Any]] = [observation]
    if isinstance(observation, spaces.Dict):
        parts = list(observation.spaces.values())
    elif isinstance(observation, spaces.Tuple):
        parts = observation.spaces
    if not all(isinstance(part, _ARRAYS) for part in parts):
        raise ValueError(
            f"the observation space must be {_ARRAYS_IN_WORDS}, or a Dict or Tuple of these, not nested (see"
            f" gymnasium.wrappers.FlattenObservation), got {observation}"
        )
    if not isinstance(action, _ARRAYS):
        raise ValueError(f"the action space must be {_ARRAYS_IN_WORDS}, as SB3's algorithms need it, got {action}")


def copy_observations(observations: Any) -> Any:
    """A batch of observations that the environment will not write into again: an array, or a dict or tuple of such."""
    if isinstance(observations, dict):
        return {key: copy_observations(value) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(copy_observations(value) for value in observations)
    if not isinstance(observations, (np.ndarray, list)):
        kind = type(observations).__name__
        raise TypeError(f"observations must be NumPy arrays, got {kind}: leave out wrappers that convert them")
    return np.array(observations)


def one_observation(observations: Any, i: int) -> Any:
    """Observation i of a batch, or of an array of observations, a copy."""
    if isinstance(observations, dict):
        return {key: np.array(value[i]) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(np.array(value[i]) for value in observations)
    row = observations[i]
    if isinstance(row, dict):
        return {key: np.array(value) for key, value in row.items()}
    return tuple(np.array(value) for value in row) if isinstance(row, tuple) else np.array(row)


def same_observations(before: Any, after: Any, where: NDArray[np.bool_]) -> bool:
    """Whether two batches of observations are equal where the mask is True; NaN is equal to NaN."""
    if isinstance(before, dict):
        return all(same_observations(before[key], after[key], where) for key in before)
    if isinstance(before, tuple):
        return all(same_observations(*pair, where) for pair in zip(before, after, strict=True))
    return bool(np.array_equal(before[where], after[where], equal_nan=before.dtype.kind in "fc"))


def split_infos(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Gymnasium's dict of arrays as SB3's list of dicts.

    Args:
        infos: An array of ``num_envs`` entries (or a dict of such) for each key, with a mask under ``"_" + key`` that
            says for which environments it holds.
        num_envs: Number of environments.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        if key.startswith("_") and key[1:] in infos and _is_mask(values, num_envs):
            continue
        mask: Any = infos.get(f"_{key}")
        entries = split_infos(values, num_envs) if isinstance(values, dict) else values
        if not _is_mask(mask, num_envs) or mask.all():  # the usual case, with one look at the mask
            for row, entry in zip(rows, entries, strict=False):
                row[key] = entry
            continue
        for i in np.flatnonzero(mask):
            rows[i][key] = entries[i]
    return rows


def _is_mask(values: Any, num_envs: int) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == np.bool_ and values.shape == (num_envs,)


class MaskedReset(dict[str, Any]):
    """Reset options out of which every layer can take the mask.

    `SyncVectorEnv` and `AsyncVectorEnv` take ``reset_mask`` out of the very dictionary that they were given, before
    they hand the rest to their environments. A wrapper that looks for the mask afterwards, as `RecordEpisodeStatistics`
    does, would not find it and take the reset for one of all environments. Here it is found again; a copy of the
    dictionary, and what a worker gets, is a plain one.
    """

    def __init__(self, mask: NDArray[np.bool_], options: dict[str, Any] | None = None) -> None:
        super().__init__(options or {}, reset_mask=mask)
        self._mask = mask

    def __bool__(self) -> bool:
        return True  # `options or {}` is a common beginning

    def __contains__(self, key: object) -> bool:
        return key == "reset_mask" or super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        return self._mask if key == "reset_mask" else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of any dictionary, but the mask is always there."""
        return self._mask if key == "reset_mask" else super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """As of any dictionary, but the mask can be taken out more than once."""
        return super().pop(key, self._mask) if key == "reset_mask" else super().pop(key, *default)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def one_seed(seeds: Sequence[int | None]) -> int | list[int | None] | None:
    """SB3's seeds as Gymnasium's: the int s stands for [s, s + 1, ...], which a native class draws from at once."""
    first = seeds[0]
    if all(seed is None for seed in seeds):
        return None
    if first is not None and list(seeds) == list(range(first, first + len(seeds))):
        return first
    return list(seeds)


def group_options(options: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], NDArray[np.bool_]]]:
    """Options of each environment as the different ones, each with the mask of those that have them."""
    groups: list[tuple[dict[str, Any], NDArray[np.bool_]]] = []
    for i, each in enumerate(options):
        for known, mask in groups:
            if _same_options(known, each):
                mask[i] = True
                break
        else:
            groups.append((each, np.arange(len(options)) == i))
    return groups


def _same_options(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a is b or (a.keys() == b.keys() and all(_same_value(value, b[key]) for key, value in a.items()))


def _same_value(a: Any, b: Any) -> bool:
    """Whether two values are surely equal; taking equal ones as different costs no more than a reset."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    try:
        return bool(a == b)
    except ValueError:  # arrays inside
        return False
