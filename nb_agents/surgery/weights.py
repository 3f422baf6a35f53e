"""Factors of gates, multiplied into the weights that read behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nb_agents.gates.gate import CONVOLUTIONS
from nb_agents.surgery.layout import Runs

Multiply = Callable[[torch.Tensor], None]
"""Multiplies a factor for each input, shape ``(n_inputs,)``, into a weight, in place."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

Add = Callable[[torch.Tensor], None]
"""Takes what is added to each input, shape ``(n_inputs,)``, into a bias behind the weight, in place."""


@dataclass
class Use:
    """A weight that reads scaled features: those of its input, and how it takes up what gates do to them."""

    reader: str
    features: Runs = ()
    multiply: Multiply | None = None
    add: Add | None = None

    @property
    def gates(self) -> frozenset[str]:
        """Names of the gates among the features."""
        return frozenset(name for _, gates in self.features for name in gates)


class FoldError(ValueError):
    """A gate that the weights behind it cannot take up.

    Attributes:
        gates: The reason by the gate's name; empty where the network as a whole is refused.
    """

    def __init__(self, message: str, gates: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.gates = dict(gates or {})


def factor_of(features: Runs, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The product of the gates, feature by feature."""
    return _over(features, values, torch.ones(1), torch.mul)


def shift_of(features: Runs, shifts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What is added, feature by feature, by the gates of ``shifts``; one of a feature's gates at most."""
    return _over(features, shifts, torch.zeros(1), torch.add)


def _over(
    features: Runs,
    values: Mapping[str, torch.Tensor],
    neutral: torch.Tensor,
    join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    parts = []
    for n, gates in features:
        part = neutral
        for name in gates:
            if name in values:
                part = join(part.to(values[name]), values[name])
        # One entry per unit: a flattened channel's entry serves all of its places, a gate's run may be tiled.
        parts.append(part.repeat_interleave(n // len(part)))
    like = next(values[name] for _, gates in features for name in gates if name in values)
    return torch.cat([part.to(like) for part in parts])


def into(weight: torch.Tensor, groups: int = 1, *, transposed: bool = False) -> Multiply:
    """Multiplication into ``weight`` of shape ``(out, in / groups, ...)``, or ``(in, ...)`` if ``transposed``."""

    def multiply(factor: torch.Tensor) -> None:
        if transposed:
            scaled = weight.flatten(1) * factor[:, None]
        else:
            by_group = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
            scaled = by_group * factor.reshape(groups, 1, -1, 1)
        weight.copy_(scaled.reshape(weight.shape))

    return multiply


def into_bias(module: nn.Module) -> Add | None:
    """Addition of ``W s`` to the bias of a linear map; None if it has none, or its borders see less of a shift."""
    weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
    padding: Any = getattr(module, "padding", 0)
    bordered = padding != "valid" if isinstance(padding, str) else np.any(padding)
    if isinstance(module, TRANSPOSED) or bordered or getattr(module, "groups", 1) > 1 or weight is None or bias is None:
        return None

    def add(shift: torch.Tensor) -> None:
        bias.add_((weight.flatten(2).sum(2) if weight.dim() > 2 else weight) @ shift)

    return add


def sizes_of(module: nn.Module) -> tuple[torch.Tensor, int, int, int, int]:
    """Weight, groups, spatial dimensions, number of inputs and of units of a linear map."""
    if isinstance(module, nn.Linear):
        return module.weight, 1, 0, module.in_features, module.out_features
    assert isinstance(module, CONVOLUTIONS)
    return module.weight, module.groups, len(module.kernel_size), module.in_channels, module.out_channels
