"""Gates that the layer before them can take up: behind ReLU and its like, or behind a normalization's own factor.

``relu(W x + b) ⊙ g = relu((g W) x + g b)`` for g >= 0. Nothing that reads the gated values sees a difference, so it
does not matter what reads them, how they are reshaped, or on which path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import fx, nn

from nb_agents.gates.gate import CONVOLUTIONS, KGate
from nb_agents.surgery.own_layers import ask, is_own_layer
from nb_agents.surgery.ranks import Ranks
from nb_agents.surgery.tracing import COMMUTING_MODULES, has_hooks, mixed_dims, name_of, operands
from nb_agents.surgery.weights import sizes_of

_HOMOGENEOUS_FUNCTIONS = frozenset(("relu", "relu_", "leaky_relu", "leaky_relu_", "dropout", "contiguous", "clone"))
_LAST_AXIS = (nn.LayerNorm, nn.RMSNorm)
_CHANNELS: dict[type[nn.Module], int] = {
    nn.BatchNorm2d: 2, nn.BatchNorm3d: 3, nn.InstanceNorm1d: 1, nn.InstanceNorm2d: 2, nn.InstanceNorm3d: 3,
}  # fmt: skip
_SECOND_AXIS = (nn.BatchNorm1d, nn.GroupNorm)


def layers_before(
    root: nn.Module, graphs: Sequence[fx.Graph], gates: Mapping[str, KGate], ranks: Ranks
) -> dict[str, nn.Module]:
    """The layer before every gate that it can take up on all paths, by the gate's name."""
    readers = _readers(root, graphs)
    calls: dict[str, list[fx.Node]] = {}
    for graph in graphs:
        for node in graph.nodes:
            if node.op == "call_module" and str(node.target) in gates:
                calls.setdefault(str(node.target), []).append(node)
    found: dict[str, nn.Module] = {}
    for name, nodes in calls.items():
        gate = gates[name]
        sources = [_source(root, node, gate, ranks) for node in nodes]
        known = dict(source for source in sources if source is not None)
        layers = {id(layer) for layer in known.values()}
        if None in sources or len(layers) != 1:
            continue
        layer = next(iter(known.values()))
        # Whatever else reads the layer's numbers would see them change.
        if all(readers[id(parameter)] == set(known) for parameter in layer.parameters()):
            found[name] = layer
    taken = [id(layer) for layer in found.values()]
    return {name: layer for name, layer in found.items() if taken.count(id(layer)) == 1}


def _readers(root: nn.Module, graphs: Iterable[fx.Graph]) -> dict[int, set[fx.Node | None]]:
    """The nodes that use every parameter, by its ``id``; None stands for modules that no graph calls."""
    readers: dict[int, set[fx.Node | None]] = {id(parameter): set() for parameter in root.parameters()}
    called: set[int] = set()
    for node in (node for graph in graphs for node in graph.nodes):
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            called |= {id(part) for part in module.modules()}
            for parameter in module.parameters():
                readers[id(parameter)].add(node)
        elif node.op == "get_attr":
            path, _, name = str(node.target).rpartition(".")
            value = getattr(root.get_submodule(path), name, None)
            readers.setdefault(id(value), set()).add(node)
    for module in root.modules():
        if id(module) not in called:
            for parameter in module.parameters(recurse=False):
                readers[id(parameter)].add(None)
    return readers


def _source(root: nn.Module, node: fx.Node, gate: KGate, ranks: Ranks) -> tuple[fx.Node, nn.Module] | None:
    """The call behind which the gate comes, with nothing but operations between that a factor passes."""
    if has_hooks(gate) or has_hooks(gate.activation):
        return None
    if _takes_up(gate.activation, gate, node, ranks):
        return node, gate.activation
    if not _passes(gate.activation, gate):
        return None
    while len(inputs := operands(node)) == 1:
        node = inputs[0]
        if len(node.users) > 1 or "kept" in node.meta:
            return None
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            if has_hooks(module) or len(operands(node)) != 1:
                return None
            if _takes_up(module, gate, node, ranks):
                return node, module
            if not _passes(module, gate):
                return None
        elif node.op not in ("call_function", "call_method") or name_of(node) not in _HOMOGENEOUS_FUNCTIONS:
            return None
    return None


def _passes(module: nn.Module, gate: KGate) -> bool:
    """Whether a factor for each unit before ``module`` is the same as one behind it."""
    return type(module) in COMMUTING_MODULES and mixed_dims(type(module).__name__) <= gate.spatial_dims


def _takes_up(layer: nn.Module, gate: KGate, node: fx.Node, ranks: Ranks) -> bool:
    """Whether the units that the gate scales are those that ``layer`` has a number each for."""
    weight = layer._parameters.get("weight")
    if weight is None or "bias" not in layer._parameters.keys() | {"bias" if isinstance(layer, nn.RMSNorm) else ""}:
        return False
    kind, dims = type(layer), gate.spatial_dims
    if kind is nn.Linear or kind in CONVOLUTIONS or (is_own_layer(layer) and ask(node, layer).outputs):
        return sizes_of(layer)[2::2] == (dims, gate.n_units)
    of_units = weight.shape == (gate.n_units,)
    if kind in _LAST_AXIS:
        return of_units and dims == 0
    return of_units and (_CHANNELS.get(kind) == dims or (kind in _SECOND_AXIS and ranks.of(node) == dims + 2))
