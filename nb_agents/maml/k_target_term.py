"""The k-target loss of stacked actors.

In SB3's training loops `KGate` adds the k-target's gradient when a backward pass has reached k. Here parameters are
stacked copies that no such hook belongs to, so the loss is a term of its own in the inner and in the outer loop.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.gates.k_target import KTarget
from nb_agents.inference.conditioned import conditioned_nets


class KTargetTerm:
    """``Σ_layers weight · (φ(k_layer) − k*)²`` and its derivatives in each of many flat parameter vectors.

    Args:
        policy: A policy with gates and their regularisers, whose level k* is read at every call.
        starts: Index at which each of the actor's parameters begins in a flat vector, by name.

    Raises:
        ValueError: If a gate has a regulariser of another kind, or computed k's have one, which would be passed by.
    """

    def __init__(self, policy: nn.Module, starts: Mapping[str, int]) -> None:
        self._terms: list[tuple[int, KGate, KTarget]] = []
        if any(k_target.weight for net in conditioned_nets(policy) for k_target in net.k_targets):
            raise ValueError(
                "k_target_weight must be 0 with k_from in MAML, whose gradients no k-target of rows can join"
            )
        for path, gate in named_gates(policy):
            for regularizer in gate.regularizers if f"{path}.k" in starts else ():
                if not isinstance(regularizer, KTarget):
                    raise ValueError(
                        f"the regularizer of gate {path!r} must be a KTarget to act in MAML's loops, got "
                        f"{type(regularizer).__name__}"
                    )
                self._terms.append((starts[f"{path}.k"], gate, regularizer))

    def __bool__(self) -> bool:
        return any(regularizer.weight != 0.0 for _, _, regularizer in self._terms)

    def value(self, params: torch.Tensor) -> torch.Tensor:
        """The weighted loss of each actor, shape ``(tasks,)``, at parameters ``(tasks, n_params)``."""
        losses = (
            regularizer.weight * (gate.phi(params[:, place]) - regularizer.level).square()
            for place, gate, regularizer in self._terms
        )
        return torch.stack(list(losses)).sum(dim=0)

    def gradient(self, params: torch.Tensor) -> torch.Tensor:
        """Its gradient, shape ``(tasks, n_params)``."""
        leaf = params.detach().requires_grad_()
        return torch.autograd.grad(self.value(leaf).sum(), leaf)[0]

    def hessian_product(self, params: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Its Hessian times vectors; shapes ``(tasks, n_params)``."""
        leaf = params.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.value(leaf).sum(), leaf, create_graph=True)
        return torch.autograd.grad(gradient, leaf, vectors)[0]
