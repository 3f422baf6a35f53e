"""What of a network trains: gates that are put in, parameters by name, or low-rank adapters."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn

from nb_agents import FiLMGate, KGate, SignedKGate, insert_gates, named_gates
from nb_agents.adapters.lora import adaptable_layers, put_lora

KINDS: dict[str, type[KGate]] = {"sigma": KGate, "signed": SignedKGate, "film": FiLMGate}


def gates(network: nn.Module, block_size: int | None, kind: str = "sigma") -> nn.Module:
    """Gates behind the hidden activations, which train alone."""
    gated = insert_gates(network, block_size, gate_class=KINDS[kind]).requires_grad_(False)
    for _, gate in named_gates(gated):
        gate.k.requires_grad_(True)
    return gated


def named(network: nn.Module, beginning: str = "", ending: str = "") -> nn.Module:
    """The parameters whose names begin and end so; all of them as it stands."""
    made = copy.deepcopy(network)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name.startswith(beginning) and name.endswith(ending))
    return made


def norms(network: nn.Module, beside: str | None = None) -> nn.Module:
    """Scales and shifts of batch normalization, and the parameters whose names begin so, if any are to train beside."""
    made = named(network, beside) if beside else copy.deepcopy(network).requires_grad_(False)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(True)
    return made


def lora(network: nn.Module, rank: int) -> nn.Module:
    """Low-rank adapters on all layers; one of their two factors is drawn, the other is zero."""
    made = copy.deepcopy(network).requires_grad_(False)
    put_lora(made, adaptable_layers(made), rank, alpha=2 * rank)
    return made


PARTS: dict[str, Callable[..., nn.Module]] = {"gates": gates, "named": named, "norms": norms, "lora": lora}
