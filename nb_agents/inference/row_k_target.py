"""The k-target of gates whose k's are computed: it acts on the k-set of each row, by the difficulty of its task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike

from nb_agents._checks import check_number
from nb_agents.gates.gate import KGate
from nb_agents.gates.k_target import KTarget

Difficulty: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""τ in [0, 1] of each row, shape ``(batch,)``, of what f sees, shape ``(batch, n_given)``."""


@dataclass(frozen=True)
class ContextDifficulty:
    """τ as one number of the context says it: 0 at ``easy`` and below, 1 at ``hard`` and beyond.

    Attributes:
        channel: Index of the number in the part of the observation that the k's are computed from.
        easy: Value, as observed, at which τ is 0.
        hard: Value at which it is 1.
    """

    channel: int = 0
    easy: float = -1.0
    hard: float = 1.0

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        """τ of rows ``(batch, n_given)``, shape ``(batch,)``."""
        return ((given[:, self.channel] - self.easy) / (self.hard - self.easy)).clamp(0.0, 1.0)


class RowKTarget(KTarget):
    """``L = mean over rows of Σ_layers (φ(k_layer of the row) − k*)²``, with ``k* = target · (0.5 + 0.3 · τ(row))``.

    Its gradient is added to that of the k-sets as it passes them on its way to f and k0. So it reaches any loop that
    calls ``loss.backward()``, once per batch and before gradients are clipped, in training mode. A loop that
    differentiates by `torch.autograd.grad` would get it too, and must not have it: TRPO and MAML refuse it by name. In
    a loop that scales its loss, give the policy ``k_target_weight=0.0`` and make `of_rows` a part of the loss.
    Called on gates, as for the logger, it is the loss of k0 where τ is ``task_difficulty``.

    Args:
        target: The paper's ``k_target``, >= 0.
        weight: Factor of the loss, >= 0.
        task_difficulty: Difficulty τ of every row, in [0, 1], or a function of what f sees, see `Difficulty`.

    Attributes:
        difficulty: The function in force, or None; ``task_difficulty`` can be set to a number or a function.
        last: k-sets and what f saw, as in `of_rows`, of the last batch that was trained on; None before the first.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If one is out of its range.
    """

    def __init__(self, target: float = 0.3, weight: float = 0.1, task_difficulty: float | Difficulty = 0.0) -> None:
        super().__init__(target, weight, 0.0)
        self.last: tuple[torch.Tensor, torch.Tensor] | None = None
        self.task_difficulty = task_difficulty
        self._made_with_function = callable(task_difficulty)

    @property
    def task_difficulty(self) -> float:
        """τ of every row, in [0, 1], where no function gives it; a function may be set, too."""
        return self._task_difficulty

    @task_difficulty.setter
    def task_difficulty(self, value: float | Difficulty) -> None:
        number = 0.0 if callable(value) else check_number("task_difficulty", value, low=0.0, high=1.0)
        self._task_difficulty = number
        self.difficulty = value if callable(value) else None

    def get_extra_state(self) -> torch.Tensor | None:
        """As `KTarget`'s; and 0, too, where it has taken the place of the function that a policy is built with."""
        if self.difficulty is None and self._made_with_function:
            return torch.tensor(self.task_difficulty, dtype=torch.float64)
        return super().get_extra_state()

    def reset_extra_state(self) -> None:
        """τ = 0 where it is a number: a function is no part of the state."""
        if self.difficulty is None:
            super().reset_extra_state()

    def tau(self, given: torch.Tensor) -> torch.Tensor:
        """τ of rows, shape ``(batch,)``.

        Raises:
            ValueError: If the function gives another shape, or something outside [0, 1].
        """
        if self.difficulty is None:
            return given.new_full((len(given),), self.task_difficulty)
        tau = self.difficulty(given.detach())
        if not torch.is_tensor(tau) or tau.shape != (len(given),) or not ((tau >= 0.0) & (tau <= 1.0)).all():
            raise ValueError(
                f"task_difficulty must give a tensor of shape {(len(given),)} in [0, 1], one number for each row, got "
                f"{tuple(tau.shape) if torch.is_tensor(tau) else tau!r}"
                + (f" between {tau.min():g} and {tau.max():g}" if torch.is_tensor(tau) and tau.numel() else "")
            )
        return tau

    def at(self, context: ArrayLike) -> float:
        """τ at one context, numbers of shape ``(n_given,)``."""
        return float(self.tau(torch.as_tensor(np.asarray(context), dtype=torch.float32)[None]))

    def of_rows(self, gates: Sequence[KGate], k: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """The unweighted loss, a scalar tensor, of k-sets ``(batch, n_k)`` computed from ``(batch, n_given)``."""
        level = self.target * (0.5 + 0.3 * self.tau(given))
        return (self._values(gates, k) - level[:, None]).square().sum(dim=1).mean()

    def watch(self, gates: Sequence[KGate], k: torch.Tensor, given: torch.Tensor) -> None:
        """Add the gradient of the weighted loss to that of ``k`` when a backward pass comes by; shapes as before."""
        # In MAML it is a tensor of torch.func, which is of no use afterwards; and torch.compile cannot ask that.
        if torch.compiler.is_compiling() or not torch._C._functorch.is_functorch_wrapped_tensor(k):
            self.last = k.detach(), given.detach()
        if self.weight == 0.0:
            return
        level, values, weight = self.target * (0.5 + 0.3 * self.tau(given)), k.detach(), self.weight

        def add(gradient: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                leaf = values.requires_grad_()
                loss = (self._values(gates, leaf) - level[:, None]).square().sum() * (weight / len(leaf))
                return gradient + torch.autograd.grad(loss, leaf)[0]

        k.register_hook(add)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"last": None}

    @staticmethod
    def _values(gates: Sequence[KGate], k: torch.Tensor) -> torch.Tensor:
        """φ of the layers' k's, shape ``(batch, n_gates)``."""
        starts = accumulate((len(gate.k) for gate in gates), initial=0)
        return torch.stack([gate.phi(k[:, start]) for gate, start in zip(gates, starts, strict=False)], dim=1)

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return super().extra_repr() + (f", difficulty={self.difficulty}" if self.difficulty is not None else "")
