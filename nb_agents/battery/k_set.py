"""k-sets by their names, and the gates that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents._objects import uncompiled
from nb_agents.battery.dynamics import Dynamics
from nb_agents.gates.gate import KGate
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.train_only import acting_modules


@dataclass(frozen=True)
class KSet:
    """One k-set.

    Attributes:
        k: The k's of all gates in order, shape ``(n_k,)``.
        parts: Views of ``k``, one per gate, shape ``(len(gate.k),)`` each.
        metadata: Notes beside it, anything that JSON can hold, as ``{"A": 1.8}``.
        dynamics: Model of the task that it is for, if there is one.
    """

    k: torch.Tensor
    parts: tuple[torch.Tensor, ...]
    metadata: dict[str, Any]
    dynamics: Dynamics | None = None


class NamedKSets:
    """The k-sets of a network by their names, in the order in which they came; see `Battery`."""

    def __init__(self, network: nn.Module | BaseAlgorithm) -> None:
        module = uncompiled(network.policy if isinstance(network, BaseAlgorithm) else network)
        if not isinstance(module, nn.Module):
            raise TypeError(f"network must be a torch.nn.Module or an SB3 model, got {type(network).__name__}")
        self.network: nn.Module = module
        self.gates = {path: m for path, m in acting_modules(module) if isinstance(m, KGate)}
        if not self.gates:
            raise ValueError(f"network has no k-gates: {type(module).__name__}")
        if any(conditioned_nets(module)):
            raise ValueError("network's k's are computed for each row of a batch: take the policy `at` a context")
        self._sets: dict[str, KSet] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sets)

    def __contains__(self, name: object) -> bool:
        return name in self._sets

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._find(name).k.clone()

    def __repr__(self) -> str:
        return f"Battery({type(self.network).__name__}, n_k={self.n_k}, names={list(self)})"

    @property
    def n_k(self) -> int:
        """Numbers in a k-set."""
        return sum(gate.k.numel() for gate in self.gates.values())

    def _find(self, name: str) -> KSet:
        try:
            return self._sets[name]
        except KeyError:
            raise KeyError(f"no k-set named {name!r}; there are {list(self)}") from None
