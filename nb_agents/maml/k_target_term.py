"""The k-target loss of stacked actors, in closed form.

In SB3's training loops `KGate` adds the k-target's gradient when a backward pass has reached k. Here parameters are
stacked copies that no such hook belongs to, so the loss is a term of its own in the inner and in the outer loop.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nb_agents.gates.gate import named_gates
from nb_agents.gates.k_target import KTarget


class KTargetTerm:
    """``Σ_layers weight · (σ(k_layer) − k*)²`` and its derivatives in each of many flat parameter vectors.

    Args:
        policy: Holds the gates and their regularisers, whose level k* is read at every call.
        starts: Where each of the actor's parameters begins in a flat vector, by name.

    Raises:
        ValueError: If a gate has a regulariser of another kind, which would be passed by in silence.
    """

    def __init__(self, policy: nn.Module, starts: Mapping[str, int]) -> None:
        places: list[int] = []
        self._owners: list[KTarget] = []
        for path, gate in named_gates(policy):
            for regularizer in gate.regularizer if f"{path}.k" in starts else ():
                if not isinstance(regularizer, KTarget):
                    raise ValueError(
                        f"the regularizer of gate {path!r} must be a KTarget to act in MAML's loops, got "
                        f"{type(regularizer).__name__}"
                    )
                places.append(starts[f"{path}.k"])
                self._owners.append(regularizer)
        self._places = torch.tensor(places, dtype=torch.long)

    def __bool__(self) -> bool:
        return any(owner.weight != 0.0 for owner in self._owners)

    def _parts(self, params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights, shape ``(gates,)``; σ and σ − k*, shape ``(tasks, gates)``."""
        weights, levels = (
            params.new_tensor([getattr(owner, name) for owner in self._owners]) for name in ("weight", "level")
        )
        sigma = params[:, self._places].sigmoid()
        return weights, sigma, sigma - levels

    def value(self, params: torch.Tensor) -> torch.Tensor:
        """The weighted loss of each actor, shape ``(tasks,)``, at parameters ``(tasks, n_params)``."""
        weights, _, distance = self._parts(params)
        return (weights * distance.square()).sum(dim=1)

    def gradient(self, params: torch.Tensor) -> torch.Tensor:
        """Its gradient, shape ``(tasks, n_params)``."""
        weights, sigma, distance = self._parts(params)
        slope = sigma * (1 - sigma)
        return self._spread(params, 2 * weights * distance * slope)

    def hessian_product(self, params: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Its Hessian, which is diagonal, times vectors; shapes ``(tasks, n_params)``."""
        weights, sigma, distance = self._parts(params)
        slope = sigma * (1 - sigma)
        curvature = 2 * weights * (slope.square() + distance * slope * (1 - 2 * sigma))
        return self._spread(params, curvature * vectors[:, self._places])

    def _spread(self, params: torch.Tensor, at_places: torch.Tensor) -> torch.Tensor:
        # Added, not written: a k with two regularisers has two entries.
        return torch.zeros_like(params).index_add_(1, self._places.to(params.device), at_places)
