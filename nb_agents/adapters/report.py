"""What each kind of adapter holds in a network, and what becomes of it in a plain one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents._objects import uncompiled
from nb_agents.adapters.acting import acting_parameters
from nb_agents.adapters.table import ADAPTERS
from nb_agents.inference.conditioned import conditioned_nets


@dataclass(frozen=True)
class AdapterSize:
    """An adapter of a network.

    Attributes:
        numbers: Numbers in a set of it.
        n_bytes: Bytes of a set.
        share: Numbers over those of all that acts, in (0, 1].
        folding: What becomes of it in a network without adapters.
    """

    numbers: int
    n_bytes: int
    share: float
    folding: str


def describe_adapters(network: nn.Module | BaseAlgorithm) -> dict[str, AdapterSize]:
    """What each kind of adapter holds in a network, by the kind's name; kinds that it does not have are left out.

    Args:
        network: A policy of `nb_agents`, an SB3 model with one, or any module. Of a policy it is the actor.

    Raises:
        TypeError: If it is none of these.
        ValueError: If a kind is there in a form that cannot be kept, as a layer with two low-rank adapters.
    """
    module: Any = uncompiled(network.policy if isinstance(network, BaseAlgorithm) else network)
    if not isinstance(module, nn.Module):
        raise TypeError(f"network must be a torch.nn.Module or an SB3 model, got {type(network).__name__}")
    whole = sum(parameter.numel() for _, parameter in acting_parameters(module))
    found = {}
    for name, kind in ADAPTERS.items():
        if own := kind.parameters(module).values():
            numbers = sum(parameter.numel() for parameter in own)
            n_bytes = sum(parameter.numel() * parameter.element_size() for parameter in own)
            computed = name == "gates" and any(conditioned_nets(module))
            folding = "none while k's are computed: take the policy at a context" if computed else kind.folding
            found[name] = AdapterSize(numbers, n_bytes, numbers / whole, folding)
    return found
