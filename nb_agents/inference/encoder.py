"""An encoder of the last transitions: what the dynamics must be, from what they have done."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


class HistoryEncoder(nn.Module):
    """f of a history: an MLP on each transition, their mean over those that there are, and an MLP on that.

    Args:
        n_inputs: Numbers of a history, ``steps`` rows with a mask as the last number of each, flattened.
        n_outputs: Numbers of a k-set.
        steps: Number of transitions.
        units: Hidden units.

    Attributes:
        mean: What is added to the output, shape ``(n_outputs,)``.
        scale: What the output is multiplied by before, shape ``(n_outputs,)``.
        width: What the numbers of a transition are divided by, shape ``(n_inputs / steps - 1,)``.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    width: torch.Tensor

    def __init__(self, n_inputs: int, n_outputs: int, steps: int, units: int) -> None:
        super().__init__()
        self.steps = steps
        n = n_inputs // steps
        self.transition = nn.Sequential(nn.Linear(n, units), nn.Tanh(), nn.Linear(units, units), nn.Tanh())
        self.head = nn.Sequential(nn.Linear(units, units), nn.Tanh(), nn.Linear(units, n_outputs))
        self.register_buffer("mean", torch.zeros(n_outputs))
        self.register_buffer("scale", torch.ones(n_outputs))
        self.register_buffer("width", torch.ones(n - 1))
        # How old a transition is, 1 for the latest: after a change of the dynamics the latest ones count.
        self.register_buffer("age", torch.linspace(0.0, 1.0, steps + 1)[1:, None], persistent=False)

    def standardised(self, histories: torch.Tensor) -> torch.Tensor:
        """The output before scale and mean, ``(batch, n_outputs)``."""
        rows = histories.reshape(len(histories), self.steps, -1)
        there = rows[:, :, -1:]
        age: torch.Tensor = self.age  # type: ignore[assignment]
        seen = torch.cat([rows[:, :, :-1] / self.width, age.expand(len(rows), -1, -1)], dim=2)
        encoded = (self.transition(seen) * there).sum(dim=1) / there.sum(dim=1).clamp(min=1.0)
        return self.head(encoded)  # type: ignore[no-any-return]

    def forward(self, histories: torch.Tensor) -> torch.Tensor:
        """f, ``(batch, n_outputs)``, of histories ``(batch, n_inputs)``."""
        return self.mean + self.scale * self.standardised(histories)


@dataclass(frozen=True)
class EncoderOf:
    """Makes a `HistoryEncoder`, as ``k_net`` of a policy.

    Attributes:
        steps: Number of transitions.
        units: Hidden units.
    """

    steps: int
    units: int = 64

    def __call__(self, n_inputs: int, n_outputs: int) -> HistoryEncoder:
        """A network with fresh weights."""
        if n_inputs % self.steps:
            raise ValueError(
                f"steps must be the number of transitions of the history, {n_inputs} numbers; got {self.steps}"
            )
        return HistoryEncoder(n_inputs, n_outputs, self.steps, self.units)
