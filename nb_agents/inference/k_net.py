"""f, which computes k from a part of the observation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from torch import nn

KNet: TypeAlias = Sequence[int] | Callable[[int, int], nn.Module]
"""Hidden units layer by layer, or a function that makes f of its numbers of inputs and outputs."""


def check_k_net(k_net: Any) -> Any:
    """Refuse what f cannot be made of.

    Raises:
        TypeError: If ``k_net`` is neither numbers of units nor a function.
        ValueError: If a number of units is below 1.
    """
    if callable(k_net) and not isinstance(k_net, nn.Module):
        return k_net
    accepted = "k_net must be hidden units layer by layer, or a function (n_inputs, n_outputs) -> module"
    if isinstance(k_net, str) or not isinstance(k_net, Sequence):
        raise TypeError(f"{accepted}, got {k_net!r}")
    if not all(isinstance(units, int) and not isinstance(units, bool) for units in k_net):
        raise TypeError(f"{accepted}, got {k_net!r}")
    if any(units < 1 for units in k_net):
        raise ValueError(f"k_net must have at least 1 unit in each layer, got {k_net!r}")
    return tuple(k_net)


def make_k_net(k_net: KNet, n_inputs: int, n_outputs: int) -> nn.Module:
    """F with fresh weights; tanh between its layers, and no bias at its end, where k0 is one."""
    if callable(k_net):
        return k_net(n_inputs, n_outputs)
    layers: list[nn.Module] = []
    for before, after in pairwise([n_inputs, *k_net]):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear((n_inputs, *k_net)[-1], n_outputs, bias=False))
