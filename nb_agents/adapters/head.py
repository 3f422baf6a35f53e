"""The output layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from nb_agents.adapters.acting import ActorParts, joined, part_at
from nb_agents.adapters.kind import Adapter
from nb_agents.adapters.lora import added_modules, lora_layers
from nb_agents.inference.conditioned import ConditionedNet


class Head(Adapter):
    """Weight and bias of the layer that puts out actions, or values of actions."""

    name = "head"
    folding = "none needed: it is a layer of a plain network"
    advice = "a policy of nb_agents has one (see nb_agents.retrofit), and so has an nn.Sequential"

    def parameters(self, network: Any) -> dict[str, nn.Parameter]:
        """Those of the last layer with a matrix in the part that a policy names, or in an `nn.Sequential`."""
        place = network.head_part if isinstance(network, ActorParts) else ""
        part = None if place is None else part_at(network, place) if place else network
        if not isinstance(part, nn.Module) or (not place and not isinstance(part, nn.Sequential)):
            return {}
        apart = {id(m) for net in part.modules() if isinstance(net, ConditionedNet) for m in net.k_net.modules()}
        apart |= {id(m) for layer in lora_layers(part).values() for m in added_modules(layer)}
        layers = [
            (path, m)
            for path, m in part.named_modules()
            if id(m) not in apart and any(p.dim() > 1 for p in m.parameters(recurse=False))
        ]
        if not layers:
            return {}
        path, layer = layers[-1]
        return {joined(place or "", joined(path, name)): p for name, p in layer.named_parameters()}
