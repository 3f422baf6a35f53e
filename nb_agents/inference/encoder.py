"""Encoders of the last transitions: what the dynamics must be, from what they have done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import relu_


class HistoryEncoder(nn.Module):
    """f of a history: numbers for each transition, and a network on those of the last ``steps`` ones.

    The first part sees one transition alone, so that whoever acts computes it once for each, keeps it, and hands it to
    the second part while the transition is within the window. `MeanEncoder` and `RecurrentEncoder` are the kinds; one
    of your own is a subclass with `together`, and `each` where it has one.

    Args:
        n_inputs: Numbers of a history, ``steps`` rows with a mask as the last number of each, flattened.
        n_outputs: Numbers of a k-set.
        steps: Number of transitions.
        units: Hidden units.

    Attributes:
        mean: What is added to the output, shape ``(n_outputs,)``.
        scale: What the output is multiplied by before, shape ``(n_outputs,)``.
        low: What the output is at least, shape ``(n_outputs,)``: histories like none in training give no k's that the
            teacher never had.
        high: What it is at most.
        width: What the numbers of a transition are divided by, shape ``(n_inputs / steps - 1,)``.
        reach: What the numbers of a transition are at most, either way, if it is like those in training; likewise.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    width: torch.Tensor
    reach: torch.Tensor

    def __init__(self, n_inputs: int, n_outputs: int, steps: int, units: int) -> None:
        super().__init__()
        self.steps, self.units = steps, units
        self.n_numbers = n_inputs // steps - 1
        self.register_buffer("mean", torch.zeros(n_outputs))
        self.register_buffer("scale", torch.ones(n_outputs))
        self.register_buffer("low", torch.full((n_outputs,), -torch.inf))
        self.register_buffer("high", torch.full((n_outputs,), torch.inf))
        self.register_buffer("width", torch.ones(self.n_numbers))
        self.register_buffer("reach", torch.full((self.n_numbers,), torch.inf))

    def each(self, transitions: torch.Tensor) -> torch.Tensor:
        """What is kept of transitions, one by one.

        Args:
            transitions: Numbers divided by `width`, shape ``(..., n_numbers)``.

        Returns:
            Shape ``(..., n_kept)``; here the numbers themselves.
        """
        return transitions

    def together(self, kept: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """The output before scale and mean.

        Args:
            kept: What `each` gave, the latest last and zeros where there is none, shape ``(batch, steps, n_kept)``.
            there: 1 where there is a transition and 0 where there is none, shape ``(batch, steps)``. Those that are
                there follow each other up to the last one.

        Returns:
            Shape ``(batch, n_outputs)``.
        """
        raise NotImplementedError

    def keep(self, transitions: torch.Tensor) -> torch.Tensor:
        """What is kept of transitions as they were seen, ``(..., n_numbers)``."""
        return self.each(transitions / self.width)

    def standardised(self, histories: torch.Tensor) -> torch.Tensor:
        """The output before scale and mean, ``(batch, n_outputs)``, of histories ``(batch, n_inputs)``."""
        return self.together(*self._kept(histories))

    def _kept(self, histories: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = histories.reshape(-1, self.steps, self.n_numbers + 1)
        return self.keep(rows[:, :, :-1]) * rows[:, :, -1:], rows[:, :, -1]

    def of(self, kept: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """f, ``(batch, n_outputs)``, of what `keep` gave."""
        return torch.addcmul(self.mean, self.scale, self.together(kept, there)).clamp(self.low, self.high)

    def forward(self, histories: torch.Tensor) -> torch.Tensor:
        """f, ``(batch, n_outputs)``, of histories ``(batch, n_inputs)``."""
        return self.of(*self._kept(histories))


class MeanEncoder(HistoryEncoder):
    """An MLP on each transition, their weighted mean over those that there are, and an MLP on that.

    The weights depend on how old a transition is and train, one for each age and unit: after a change of the dynamics
    the latest transitions count.
    """

    def __init__(self, n_inputs: int, n_outputs: int, steps: int, units: int) -> None:
        super().__init__(n_inputs, n_outputs, steps, units)
        kept = -(-units // 2)  # the fewer, the less there is to move in every step
        self.first, self.second = nn.Linear(self.n_numbers, units), nn.Linear(units, kept)
        self.third, self.last = nn.Linear(kept, units), nn.Linear(units, n_outputs)
        # From the start some units look far back, and others at the latest transitions.
        age, rate = torch.arange(steps - 1.0, -1.0, -1.0)[:, None], torch.linspace(0.0, 1.0, kept)
        self.log_weight = nn.Parameter(-rate * age)

    def each(self, transitions: torch.Tensor) -> torch.Tensor:
        """The MLP's output, shape ``(..., units / 2)``."""
        return relu_(self.second(relu_(self.first(transitions))))

    def together(self, kept: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """See `HistoryEncoder.together`."""
        weight = self.log_weight.exp()
        total = (there @ weight).clamp(min=1e-6)
        return self.last(relu_(self.third((kept * weight).sum(dim=1) / total)))  # type: ignore[no-any-return]


class RecurrentEncoder(HistoryEncoder):
    """A GRU over the transitions of the window, from the oldest one that there is to the latest."""

    def __init__(self, n_inputs: int, n_outputs: int, steps: int, units: int) -> None:
        super().__init__(n_inputs, n_outputs, steps, units)
        self.gru = nn.GRU(self.n_numbers, units, batch_first=True)
        self.head = nn.Linear(units, n_outputs)

    def together(self, kept: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """See `HistoryEncoder.together`."""
        count = there.sum(dim=1, keepdim=True).long()
        # The transitions are moved to the front, so that each row's first one meets a fresh state.
        place = (torch.arange(self.steps, device=kept.device) + self.steps - count).clamp(max=self.steps - 1)
        states, _ = self.gru(kept.gather(1, place[:, :, None].expand(-1, -1, kept.shape[2])))
        last = (count - 1).clamp(min=0)[:, :, None].expand(-1, -1, self.units)
        return self.head(states.gather(1, last)[:, 0] * (count > 0))  # type: ignore[no-any-return]


KINDS: dict[str, type[HistoryEncoder]] = {"mlp": MeanEncoder, "gru": RecurrentEncoder}
"""Encoders by name."""


def encoder_class(encoder: Any) -> type[HistoryEncoder]:
    """The class of a name, or the class itself.

    Raises:
        TypeError: If ``encoder`` is neither.
        ValueError: If there is no encoder of the name.
    """
    accepted = f"encoder must be one of {list(KINDS)} or a subclass of HistoryEncoder with `together`, got {encoder!r}"
    if isinstance(encoder, str):
        if encoder not in KINDS:
            raise ValueError(accepted)
        return KINDS[encoder]
    if not (isinstance(encoder, type) and issubclass(encoder, HistoryEncoder)):
        raise TypeError(accepted)
    if encoder.together is HistoryEncoder.together:
        raise TypeError(accepted)
    return encoder


@dataclass(frozen=True)
class EncoderOf:
    """Makes a `HistoryEncoder`, as ``k_net`` of a policy.

    Attributes:
        steps: Number of transitions.
        units: Hidden units.
        encoder: Name or class, see `encoder_class`.
        n_numbers: Numbers of a transition, without the mask; None for whatever the history has.
    """

    steps: int
    units: int = 32
    encoder: str | type[HistoryEncoder] = "mlp"
    n_numbers: int | None = None

    def __call__(self, n_inputs: int, n_outputs: int) -> HistoryEncoder:
        """A network with fresh weights.

        Raises:
            ValueError: If the history has another number of transitions.
        """
        width = n_inputs // self.steps if self.n_numbers is None else self.n_numbers + 1
        if n_inputs != self.steps * width:
            found = f"{n_inputs} numbers" if n_inputs % width else f"{n_inputs // width} of them"
            raise ValueError(f"steps must be the number of transitions of the history, {found}; got {self.steps}")
        return encoder_class(self.encoder)(n_inputs, n_outputs, self.steps, self.units)
