"""The k's of gates, of whichever kind these are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from nb_agents.adapters.acting import acting_modules, joined
from nb_agents.adapters.kind import Adapter
from nb_agents.gates.gate import KGate
from nb_agents.inference.conditioned import ConditionedNet


class Gates(Adapter):
    """One number or more for each gate."""

    name = "gates"
    folding = "fold_gates multiplies them into the weights behind or before"
    advice = "take a k-gated policy, or nb_agents.retrofit or insert_gates"

    def parameters(self, network: Any) -> dict[str, nn.Parameter]:
        """The k's; see `Adapter.parameters`."""
        return {joined(path, "k"): gate.k for path, gate in acting_gates(network)}

    def trained(self, network: Any) -> list[nn.Parameter]:
        """The k's, and the networks that compute k's."""
        return [*super().trained(network), *computing(network)]

    def effects(self, network: Any, numbers: Mapping[str, torch.Tensor]) -> Iterator[torch.Tensor]:
        """The gates and what they add."""
        for path, gate in acting_gates(network):
            k = numbers[joined(path, "k")].to(gate.k)
            yield gate.gate(k)
            if (shift := gate.shift(k)) is not None:
                yield shift

    def shape(self, network: Any) -> list[str]:
        """Nothing: the gates are modules of the network."""
        return []


def acting_gates(network: Any) -> Iterator[tuple[str, KGate]]:
    """The gates that a deterministic action depends on."""
    return ((path, module) for path, module in acting_modules(network) if isinstance(module, KGate))


def computing(network: Any) -> list[nn.Parameter]:
    """The parameters of what computes k's."""
    nets = [module for _, module in acting_modules(network) if isinstance(module, ConditionedNet)]
    return [parameter for net in nets for parameter in net.k_net.parameters()]
