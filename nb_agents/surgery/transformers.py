"""Gates inside torch's own transformer layers, which no graph shows: behind the activation of the feed-forward block.

``linear2(dropout(activation(linear1(x))))`` is all that reads the gated units, in every mode, so that nothing has to be
followed. Attention and the residual stream have no activation, and stay as they are. A layer with a gate takes torch's
ordinary path: the fused one of `eval()` without gradients, which a folded layer takes again, rounds otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import fx, nn

from nb_agents.gates.gate import ACTIVATIONS, KGate
from nb_agents.policies.placing import Units, put_gate
from nb_agents.surgery.tracing import attribute_of, has_hooks

_FUNCTIONS = {F.relu: nn.ReLU, F.gelu: nn.GELU}
_FUSED = {nn.ReLU: 1, nn.GELU: 2}
"""The number by which an encoder's layer knows the activation that its fused path computes."""


def transformer_layers(root: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers of torch's own classes in ``root``, with the names that their gates have."""
    for name, module in root.named_modules():
        if type(module) in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer):
            yield f"{name}.activation".lstrip("."), module


def is_opaque(root: nn.Module) -> bool:
    """Whether ``root`` is a transformer of torch's own, which `torch.fx` cannot trace and nothing else has to."""
    kinds = (nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder)
    return type(root) in (*kinds, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def why_not_gated(layer: Any) -> str:
    """Why no gate can follow the layer's activation; empty if one can."""
    if isinstance(layer, nn.TransformerDecoderLayer):
        return "torch's decoder loses a module in this place when it is copied or loaded"
    known = layer.activation in _FUNCTIONS or isinstance(layer.activation, ACTIVATIONS)
    return "" if known else f"{layer.activation!r} is no activation that a gate may follow"


def gate_transformer(layer: nn.TransformerEncoderLayer, gate_kwargs: Mapping[str, Any]) -> None:
    """Put a gate behind the layer's activation, in place."""
    if layer.activation in _FUNCTIONS:
        layer.activation = _FUNCTIONS[layer.activation]().train(layer.training)
    put_gate(layer, "activation", Units(layer.linear1.out_features, 0, layer.linear1.weight), **gate_kwargs)
    layer.activation_relu_or_gelu = 0  # the fused path would not ask the gate


def ungate_transformers(root: nn.Module) -> None:
    """Let layers whose gates are gone take the fused path again, in place."""
    for _, layer in transformer_layers(root):
        if isinstance(layer, nn.TransformerEncoderLayer):
            layer.activation_relu_or_gelu = _FUSED.get(type(layer.activation), layer.activation_relu_or_gelu)


def readers_of_gates(root: nn.Module, graphs: Sequence[fx.Graph]) -> Iterator[tuple[str, KGate, nn.Linear, str]]:
    """Every gate in a transformer's layer, the layer that reads its units, and why that cannot take it up, if so."""
    owners = [id(p) for module in root.modules() for p in module._parameters.values() if p is not None]
    nodes = [node for graph in graphs for node in graph.nodes]
    called = {id(root.get_submodule(str(node.target))) for node in nodes if node.op == "call_module"}
    read = {id(attribute_of(root, str(node.target))) for node in nodes if node.op == "get_attr"}
    for name, layer in transformer_layers(root):
        gate, reader = layer.activation, layer.linear2
        if not isinstance(gate, KGate):
            continue
        numbers = [id(parameter) for parameter in reader.parameters()]
        why = ""
        if type(reader) is not nn.Linear or reader._parameters.get("weight") is None:
            why = f"linear2 is a {type(reader).__name__}"
        elif any(map(has_hooks, (gate, gate.activation, layer, layer.dropout, reader))):
            why = "it or the layer has forward hooks or a forward of its own"
        elif any(owners.count(each) > 1 or each in read for each in numbers):
            why = "the weights of linear2 are used elsewhere"
        elif {id(gate), id(reader), id(layer.linear1)} & called:
            why = "parts of its layer are called apart from it"
        yield name, gate, reader, why
