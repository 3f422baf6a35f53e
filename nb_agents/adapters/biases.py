"""Biases alone (BitFit; Ben Zaken et al. 2022)."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import BasePolicy
from torch import nn

from nb_agents.adapters.acting import ActorParts, acting_modules, joined
from nb_agents.adapters.gates import computing
from nb_agents.adapters.kind import Adapter


class Biases(Adapter):
    """The biases of linear, convolutional and recurrent layers."""

    name = "biases"
    folding = "none needed: they are weights of a plain network"
    advice = (
        "layers with a matrix and a bias have them, in a policy of nb_agents (see nb_agents.retrofit) or any module"
    )

    def parameters(self, network: Any) -> dict[str, nn.Parameter]:
        """Of the layers that have a matrix; where a normalisation's would train, its statistics would move as well."""
        if isinstance(network, BasePolicy) and not isinstance(network, ActorParts):
            return {}  # nothing says which of the layers are the actor's
        apart = {id(parameter) for parameter in computing(network)}
        found = dict[str, nn.Parameter]()
        for path, module in acting_modules(network):
            own = [(name, p) for name, p in module.named_parameters(recurse=False) if id(p) not in apart]
            if any(p.dim() > 1 for _, p in own):  # an LSTM's are bias_ih_l0 and so on
                found |= {joined(path, name): p for name, p in own if name.startswith("bias")}
        return found
