"""The k-target regulariser: it draws every layer's gate towards a value set by the task's difficulty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from nb_agents._checks import check_number
from nb_agents.gates.extra_state import OptionalExtraState, as_numbers
from nb_agents.gates.gate import KGate


class KTarget(OptionalExtraState, nn.Module):
    """``L_k-target = Σ_layers (φ(k_layer) − k*)²`` with ``k* = target · (0.5 + 0.3 · τ)``; φ is σ in the paper's gate.

    It is a module for the sake of `state_dict`: τ may change after construction, and is saved with the network where
    it is not 0.
    `KGate` adds its gradient to ``k.grad`` when a backward pass has accumulated that. So it reaches any training loop
    that calls ``loss.backward()``, once per call and before gradients are clipped. In MAML's loops it is a term of the
    loss (`nb_agents.maml.k_target_term`).

    It does not act, or not with its weight, in loops of your own that

    - scale the loss, as `torch.amp.GradScaler` does: what is added to a scaled gradient is divided by the scale later;
    - call ``backward()`` several times for one step, which adds it as many times;
    - take gradients by `torch.autograd.grad` or `torch.func`, which pass by ``k.grad``.

    There give the policy ``k_target_weight=0.0`` and make it a part of your loss, to be scaled with the rest:
    ``loss + 0.1 * policy.regularizer(policy.gates.values())``.

    Args:
        target: The paper's ``k_target``, >= 0.
        weight: Factor of the loss, >= 0.
        task_difficulty: Difficulty τ of the task, in [0, 1].

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is out of its range.
    """

    def __init__(self, target: float = 0.3, weight: float = 0.1, task_difficulty: float = 0.0) -> None:
        super().__init__()
        self.target = check_number("k_target", target, low=0.0)
        self.weight = check_number("k_target_weight", weight, low=0.0)
        self.task_difficulty = task_difficulty

    @property
    def task_difficulty(self) -> float:
        """τ, in [0, 1]."""
        return self._task_difficulty

    @task_difficulty.setter
    def task_difficulty(self, value: float) -> None:
        self._task_difficulty = check_number("task_difficulty", value, low=0.0, high=1.0)

    @property
    def level(self) -> float:
        """k*, the value that the layers' gates are drawn to."""
        return self.target * (0.5 + 0.3 * self.task_difficulty)

    def forward(self, gates: Iterable[KGate]) -> torch.Tensor:
        """The unweighted loss over ``gates``, a scalar tensor."""
        values = torch.cat([gate.phi(gate.k[:1]) for gate in gates])
        return (values - self.level).square().sum()

    def add_gradient(self, gate: KGate) -> None:
        """Add ``weight · ∂L/∂k`` to ``gate.k.grad``: ``∂L/∂k_layer = 2 (φ − k*) φ'``, and 0 for the blocks."""
        if self.weight == 0.0 or gate.k.grad is None:
            return
        k = gate.k.detach()[:1]
        gate.k.grad[:1].add_((gate.phi(k) - self.level) * gate.slope(k), alpha=2.0 * self.weight)

    def get_extra_state(self) -> torch.Tensor | None:
        """τ, for `state_dict`; None for 0."""
        return torch.tensor(self.task_difficulty, dtype=torch.float64) if self.task_difficulty else None

    def set_extra_state(self, state: Any) -> None:
        """Restore τ from `get_extra_state`."""
        self.task_difficulty = float(as_numbers(state, "the task difficulty of a state dict", ()))

    def reset_extra_state(self) -> None:
        """τ = 0."""
        self.task_difficulty = 0.0

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return f"target={self.target}, weight={self.weight}, task_difficulty={self.task_difficulty}"
