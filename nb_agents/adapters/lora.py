"""Low-rank adapters (LoRA; Hu et al. 2022), by Hugging Face's `peft`: put in, found again, and merged."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from nb_agents.adapters.acting import acting_modules, joined
from nb_agents.adapters.kind import Adapter

Network = TypeVar("Network", bound=nn.Module)


class LoRA(Adapter):
    """Two matrices A (rank, inputs) and B (outputs, rank) for each layer, whose weight becomes W + α/r · B A."""

    name = "lora"
    folding = "fold_gates adds the products to the weights, by peft's own merge"
    why_no_line = (
        "the product of two matrices follows no straight line when they do, and the line's own rank is twice as high"
    )
    advice = 'pass policy_kwargs={"lora_rank": 4}, or nb_agents.retrofit(model, lora_rank=4)'

    def parameters(self, network: Any) -> dict[str, nn.Parameter]:
        """A and B of each layer; see `Adapter.parameters`."""
        found = dict[str, nn.Parameter]()
        for path, layer in acting_lora(network):
            which = _adapter_of(path, layer)
            found |= {joined(path, f"{side}.{which}.weight"): getattr(layer, side)[which].weight for side in FACTORS}
        return found

    def effects(self, network: Any, numbers: Mapping[str, torch.Tensor]) -> Iterator[torch.Tensor]:
        """What is added to each weight: of the factors, any invertible matrix could be put between the two."""
        for path, layer in acting_lora(network):
            which = _adapter_of(path, layer)
            a, b = (numbers[joined(path, f"{side}.{which}.weight")].flatten(1) for side in FACTORS)
            yield layer.scaling[which] * (b @ a)

    def shape(self, network: Any) -> list[str]:
        """The factors' shapes, and what the product is multiplied by."""
        scales = [f"{self.name} {path}: {scale_of(layer)}" for path, layer in acting_lora(network)]
        return [*super().shape(network), *scales]


FACTORS = ("lora_A", "lora_B")
"""Names of the two modules, of which B begins at 0."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_FUSED = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.MultiheadAttention)


def acting_lora(network: Any) -> Iterator[tuple[str, Any]]:
    """The layers with low-rank adapters that a deterministic action depends on."""
    return ((path, module) for path, module in acting_modules(network) if is_lora(module))


def lora_layers(network: nn.Module) -> dict[str, Any]:
    """All layers with low-rank adapters, under every path that they have."""
    return {path: module for path, module in network.named_modules(remove_duplicate=False) if is_lora(module)}


def is_lora(module: nn.Module) -> bool:
    """Whether peft has wrapped a layer; where nobody has imported peft, it has not."""
    peft = sys.modules.get("peft.tuners.lora.layer")
    return peft is not None and isinstance(module, peft.LoraLayer)


def scale_of(layer: Any) -> float:
    """What the product of a layer's factors is multiplied by, α/r."""
    return float(next(iter(layer.scaling.values())))


def lora_parameters(layer: Any) -> list[tuple[str, nn.Parameter]]:
    """The factors of a layer with their paths in it, however many adapters peft has put there."""
    return [(name, p) for name, p in layer.named_parameters() if not name.startswith("base_layer.")]


def added_modules(layer: Any) -> list[nn.Module]:
    """The modules that peft has put into a layer beside the one that was there."""
    own = {id(module) for module in layer.base_layer.modules()} | {id(layer)}
    return [module for module in layer.modules() if id(module) not in own]


def peft_package() -> Any:
    """The package, imported where it is needed.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise ImportError('LoRA needs the package peft: pip install "neural-battery[adapters]"') from error
    return peft


def adaptable_layers(network: nn.Module) -> list[str]:
    """The acting layers that can have low-rank adapters: linear ones, and convolutions of one group.

    Those of PyTorch's transformer layers are left out: without gradients these read the weights, and no adapter.
    """
    inside = {id(layer) for module in network.modules() if isinstance(module, _FUSED) for layer in module.modules()}
    return [
        path
        for path, module in acting_modules(network)
        if id(module) not in inside
        and (type(module) is nn.Linear or (type(module) in _CONVOLUTIONS and module.groups == 1))
    ]


def put_lora(network: nn.Module, layers: Collection[str], rank: int, alpha: float) -> None:
    """Put low-rank adapters on layers, in place; the network computes what it did, for B begins at 0.

    A is drawn from torch's generator, layer by layer in the order of the modules. What trains stays as it is: peft
    freezes all that is no adapter, which is `train_only`'s to do.

    Args:
        network: Any module.
        layers: Paths of linear or convolutional layers.
        rank: Rank of the products, at least 1.
        alpha: α of peft's ``lora_alpha``; the product is multiplied by α/r.

    Raises:
        ImportError: If peft is not installed.
        ValueError: If a layer stands in two places, or its weight is another's as well, which merging would change.
    """
    peft = peft_package()
    _check_unshared(network, layers)
    trains = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    # As a pattern, which is exact: a name in a list would match the end of others', too.
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="|".join(map(re.escape, layers))
    )
    peft.inject_adapter_in_model(config, network)
    for parameter, trained in trains:
        parameter.requires_grad_(trained)


def _check_unshared(network: nn.Module, layers: Collection[str]) -> None:
    holders: dict[int, set[tuple[int, str]]] = {}  # parents of each module, and modules of each parameter
    for module in network.modules():
        for name, held in [*module._modules.items(), *module._parameters.items()]:
            holders.setdefault(id(held), set()).add((id(module), name))
    for path in layers:
        layer = network.get_submodule(path)
        if any(len(holders.get(id(held), ())) > 1 for held in (layer, layer.weight)):
            raise ValueError(f"the layer {path!r} must stand in one place alone, and share no weight, to be adapted")


def merge_lora(network: Network) -> Network:
    """Add the products to the weights by peft's own merge, in place, and leave the layers that it has wrapped."""
    for path, layer in lora_layers(network).items():
        if not layer.merged:  # one that stands in several places is merged in the first
            layer.merge()
        network.set_submodule(path, layer.get_base_layer())
    if "peft_config" in vars(network):
        del network.peft_config
    return network


def _adapter_of(path: str, layer: Any) -> str:
    """Name of the one adapter that peft has put on a layer.

    Raises:
        ValueError: If there are others, or it is no plain product of two matrices.
    """
    names, others = list(layer.lora_A), [n for n, _ in lora_parameters(layer) if not n.startswith(FACTORS)]
    grouped = getattr(layer.get_base_layer(), "groups", 1) != 1
    idle = layer.disable_adapters or list(layer.active_adapters) != names
    if len(names) != 1 or others or grouped or idle or getattr(layer, "lora_variant", None) or layer.merged:
        raise ValueError(
            f"the low-rank adapter of {path!r} must be one product of two matrices, active and not merged, on a layer "
            f"of one group; got the adapters {names} with {[name for name, _ in lora_parameters(layer)]}"
        )
    return str(names[0])
