"""Factors of gates, multiplied into the weights that read behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from nb_agents.gates.gate import CONVOLUTIONS
from nb_agents.surgery.layout import Runs

Multiply = Callable[[torch.Tensor], None]
"""Multiplies a factor for each input, shape ``(n_inputs,)``, into a weight, in place."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass
class Use:
    """A weight that reads scaled features: ``features`` are those of its input, ``multiply`` takes factors into it."""

    reader: str
    features: Runs = ()
    multiply: Multiply | None = None

    @property
    def gates(self) -> frozenset[str]:
        """Names of the gates among the features."""
        return frozenset(name for _, gates in self.features for name in gates)


class FoldError(ValueError):
    """A gate that the weights behind it cannot take up."""


def factor_of(features: Runs, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The product of the gates, feature by feature."""
    parts = []
    for n, gates in features:
        part = torch.ones(1)
        for name in gates:
            g = values[name]
            part = part.to(g) * g
        # One entry per unit: a flattened channel's entry serves all of its places, a gate's run may be tiled.
        parts.append(part.repeat_interleave(n // len(part)))
    like = next(values[name] for _, gates in features for name in gates)
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


def sizes_of(module: nn.Module) -> tuple[torch.Tensor, int, int, int, int]:
    """Weight, groups, spatial dimensions, number of inputs and of units of a linear map."""
    if isinstance(module, nn.Linear):
        return module.weight, 1, 0, module.in_features, module.out_features
    assert isinstance(module, CONVOLUTIONS)
    return module.weight, module.groups, len(module.kernel_size), module.in_channels, module.out_channels
