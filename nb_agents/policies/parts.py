"""Networks inside a policy, as its actor, that can be saved and loaded by themselves with their gates."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from nb_agents._objects import Extension
from nb_agents.adapters.lora import is_lora
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.inference.conditioned import ConditionedNet


class GatedPart(Extension):
    """Makes an SB3 network build itself gated, so that ``type(model.actor).load(path)`` reads what ``save`` wrote.

    SB3 names the classes of actors and Q-networks where it builds them, and a policy gates the instance. What it then
    keeps is an instance of a class that extends theirs by this one, see `gated_part`.

    Args:
        *args: Positional arguments of the SB3 network.
        k_gates: Gates by path, copies of which replace the modules there.
        k_networks: Networks by path whose gates take their k's from the features; likewise.
        lora_layers: Layers by path that low-rank adapters are on; likewise.
        **kwargs: Further arguments of the SB3 network.
    """

    def __init__(
        self,
        *args: Any,
        k_gates: Mapping[str, KGate],
        k_networks: Mapping[str, ConditionedNet] | None = None,
        lora_layers: Mapping[str, nn.Module] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        network: Any = self
        for path, whole in copy.deepcopy(dict(k_networks or {})).items():
            network.set_submodule(path, whole)
        for path, gate in copy.deepcopy(dict(k_gates)).items():
            # A features extractor is handed over as it is, with its gates in it.
            if not isinstance(network.get_submodule(path), KGate):
                network.set_submodule(path, gate)
        for path, layer in copy.deepcopy(dict(lora_layers or {})).items():
            if not is_lora(network.get_submodule(path)):
                network.set_submodule(path, layer)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        module: Any = self
        networks = {path: each for path, each in module.named_modules() if isinstance(each, ConditionedNet)}
        inside = {path: gate for path, gate in named_gates(module) if path.rpartition(".")[0] not in networks}
        adapted = {path: each for path, each in module.named_modules() if is_lora(each)}
        more = {"k_networks": networks, "lora_layers": adapted}
        return data | {"k_gates": inside} | {name: each for name, each in more.items() if each}


def gated_part(network: Any) -> Any:
    """``network`` as a `GatedPart`, in which all of its parts are the same; itself where there are no gates in it."""
    if isinstance(network, GatedPart) or not any(named_gates(network)):
        return network
    return GatedPart.of(network)
