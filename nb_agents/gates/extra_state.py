"""Settings that a state dict holds only where they differ from the default, as floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class OptionalExtraState:
    """A module whose settings go into its state dict unless they are the default; put it before `torch.nn.Module`.

    PyTorch writes an extra state always and misses it when a state dict has none. But code that takes state dicts for
    numbers (averages and casts them, adds noise) expects parameters alone; so here it is optional, and a float tensor.
    Where it is absent the settings are the default, if one of these modules wrote the state dict; a plain network's
    says nothing of them. So a subclass's `get_extra_state` returns None for the default, and its `set_extra_state`
    raises a TypeError or ValueError where a state holds no settings.
    """

    def reset_extra_state(self) -> None:
        """Go back to the default."""
        raise NotImplementedError

    def _wrote(self, state_dict: Mapping[str, Any], prefix: str) -> bool:
        """Whether ``state_dict`` is one of a module of this kind, and not of a plain network."""
        return prefix == ""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[misc]
        if destination[f"{prefix}_extra_state"] is None:
            del destination[f"{prefix}_extra_state"]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        _, _, missing_keys, _, error_msgs = rest
        key = f"{prefix}_extra_state"
        if key not in state_dict and self._wrote(state_dict, prefix):
            self.reset_extra_state()
        try:
            super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[misc]
        except (TypeError, ValueError) as error:  # of set_extra_state: load_state_dict collects what is wrong
            error_msgs.append(str(error))
        if key in missing_keys:
            missing_keys.remove(key)


def as_numbers(state: Any, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """An extra state read from a file, as float64.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it is of another shape or not finite.
    """
    if not isinstance(state, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {state!r}")
    if state.shape != shape or not state.isfinite().all():
        raise ValueError(f"{name} must hold finite numbers of shape {shape}, got {state}")
    return state.detach().double().cpu()
