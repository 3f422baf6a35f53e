"""Where gates can go in a traced network: behind every activation with a linear map before and behind it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from nb_agents._objects import free_name
from nb_agents.gates.gate import is_normalization
from nb_agents.policies.placing import Units
from nb_agents.surgery.flow import Flow
from nb_agents.surgery.paths import entry_methods
from nb_agents.surgery.tracing import TraceError, attribute_of, in_mode, is_activation, is_linear, trace_path, walk


class Place(NamedTuple):
    """A gate to be: behind ``node``, whose module it wraps if ``in_place``; ``units`` are None where unknown."""

    name: str
    node: fx.Node
    units: Units | None
    in_place: bool


def places(flow: Flow) -> Iterator[Place]:
    """All places in the first graph of ``flow``."""
    modules = dict(flow.root.named_modules())
    calls = [[node for node in g.nodes if node.op == "call_module"] for g in flow.graphs]
    for node in flow.graphs[0].nodes:
        if not is_activation(node, modules, flow.activations):
            continue
        if not any(is_linear(n, modules) for n in walk(node, lambda n: n.users)):
            continue  # it squashes the output
        layers = (n for n in walk(node, lambda n: n.all_input_nodes) if is_linear(n, modules))
        if (layer := next(layers, None)) is None:
            continue  # it squashes the input, there is no layer to gate
        layout = flow.layouts[node]
        same = [[other for other in nodes if other.target == node.target] for nodes in calls]
        once = node.op == "call_module" and all(len(others) <= 1 for others in same)
        name = str(node.target) if once else free_name(f"{node.name}_gate", dir(flow.root))
        users = list(node.users)
        module = modules.get(str(users[0].target)) if len(users) == 1 else None
        if module is not None and is_normalization(module):
            node = users[0]
            served = [[n for n in nodes if n.target == node.target] for nodes in calls]
            once = once and all(len(nodes) == len(others) <= 1 for nodes, others in zip(served, same, strict=True))
            name = str(node.target) if once else name
        widths = {flow.layouts[n].width for nodes in same for n in nodes if flow.layouts[n] is not None}  # type: ignore[union-attr]
        known = layout is not None and layout.width is not None and not (once and len(widths) > 1)
        units = Units(layout.width, -1 - layout.axis, _weight_of(layer, flow.root)) if known else None  # type: ignore[arg-type, union-attr]
        yield Place(name, node, units, once)


def other_graphs(root: nn.Module, leaves: tuple[type[nn.Module], ...]) -> Iterator[fx.Graph]:
    """Further graphs of ``root``, where it can be traced: of the other mode, and of other public methods."""
    for method, mode in itertools.product(entry_methods(root), (True, False)):
        with suppress(TraceError), in_mode(root, training=mode):
            yield trace_path(root, leaves, method=method, turns=())[0]


def _weight_of(layer: fx.Node, root: nn.Module) -> torch.Tensor:
    """A weight of the layer, which says where the units behind it are and of which type."""
    if layer.op == "call_module":
        return next(p for p in root.get_submodule(str(layer.target)).parameters() if p.dim() > 1)
    attributes = [n for n in layer.all_input_nodes if n.op == "get_attr"]
    found: list[Any] = [attribute_of(root, str(n.target)) for n in attributes]
    tensors = [t for t in (*found, *root.parameters()) if torch.is_tensor(t) and t.is_floating_point()]
    return tensors[0]
