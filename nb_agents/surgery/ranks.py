"""Numbers of dimensions of the values in a traced network, and the values that share their batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from nb_agents.gates.gate import ACTIVATIONS, CONVOLUTIONS, KGate, is_normalization
from nb_agents.surgery.own_layers import ask, is_own_layer
from nb_agents.surgery.tracing import (
    ACTIVATION_FUNCTIONS,
    ARITHMETIC,
    COMMUTING_FUNCTIONS,
    COMMUTING_MODULES,
    ScaleSink,
    argument,
    name_of,
    operands,
    shape_of,
)

_ALIKE = ACTIVATION_FUNCTIONS | COMMUTING_FUNCTIONS | ARITHMETIC
_EXACT: dict[type[Any], int] = {nn.BatchNorm2d: 4, nn.BatchNorm3d: 5}


class Ranks:
    """Groups of values that have the same number of dimensions and, if batched, the same batch.

    The number is known by an example, a layer that takes one number only, or an axis that is asked for. Behind a
    convolution it is one of two, with a batch or without.
    """

    def __init__(self, root: nn.Module, graphs: Iterable[fx.Graph]) -> None:
        self._parent: dict[fx.Node, fx.Node] = {}
        self._exact: dict[fx.Node, int] = {}
        least: dict[fx.Node, int] = {}
        spatial: dict[fx.Node, int] = {}
        nodes = [node for graph in graphs for node in graph.nodes]
        modules = dict(root.named_modules(remove_duplicate=False))
        for node in nodes:
            if (source := _like_its_input(node, modules)) is not None:
                self._parent[self._group(node)] = self._group(source)
        for node in nodes:
            group = self._group(node)
            if (shape := shape_of(node)) is not None:
                self._exact[group] = len(shape)
            module = modules.get(str(node.target)) if node.op == "call_module" else None
            module = module.activation if isinstance(module, KGate) else module
            if (exact := _EXACT.get(type(module))) is not None:
                self._exact[group] = exact
            if isinstance(module, CONVOLUTIONS) and (not is_own_layer(module) or ask(node, module).keeps_units):
                spatial[group] = len(module.kernel_size)
            if (source := next(iter(operands(node)), None)) is not None and (axis := _asked_for(node)) is not None:
                group = self._group(source)
                least[group] = max(least.get(group, 0), axis + 1)
        for group, dims in spatial.items():
            if least.get(group, 0) == dims + 2:
                self._exact.setdefault(group, dims + 2)
        for node in nodes:  # a sum has as many dimensions as its larger part
            ranks = [self.of(source) for source in operands(node)]
            if len(ranks) > 1 and name_of(node) in ARITHMETIC and None not in ranks:
                self._exact.setdefault(self._group(node), max(rank or 0 for rank in ranks))

    def _group(self, node: fx.Node) -> fx.Node:
        while (parent := self._parent.get(node, node)) is not node:
            node = parent
        return node

    def of(self, node: fx.Node) -> int | None:
        """The number of dimensions of the node's value, None if it is unknown."""
        return self._exact.get(self._group(node))

    def is_batch_of(self, size: Any, node: fx.Node) -> bool:
        """Whether ``size`` is read from the first dimension of a value that has the same one as ``node``'s."""
        if not isinstance(size, fx.Node):
            return False
        if name_of(size) == "getitem" and size.args[1] == 0 and isinstance(size.args[0], fx.Node):
            size = size.args[0]
            whole = name_of(size) == "size" and len(size.args) == 1 and not size.kwargs
            whole = whole or (name_of(size) == "getattr" and size.args[1] == "shape")
        else:
            whole = name_of(size) == "size" and argument(size, 1, "dim", None) == 0
        source = next(iter(operands(size)), None)
        return whole and source is not None and self._group(source) is self._group(node)


def _like_its_input(node: fx.Node, modules: dict[str, nn.Module]) -> fx.Node | None:
    """The input whose number of dimensions and first dimension the node's value has."""
    inputs = operands(node)
    if len(inputs) != 1:
        return None
    if node.op == "call_module":
        kinds = (nn.Linear, *CONVOLUTIONS, *ACTIVATIONS, *COMMUTING_MODULES, KGate, ScaleSink)
        module = modules[str(node.target)]
        if is_own_layer(module) and not ask(node, module).keeps_units:
            return None
        return inputs[0] if isinstance(module, kinds) or is_normalization(module) else None
    is_call = node.op in ("call_function", "call_method")
    return inputs[0] if is_call and name_of(node) in _ALIKE else None


def _asked_for(node: fx.Node) -> int | None:
    """The highest axis of its input, counted from the front, that the node needs to be there."""
    if node.op not in ("call_function", "call_method"):
        return None
    if name_of(node) not in ("mean", "sum", "amax", "size"):
        return None
    dims = argument(node, 1, "dim", None)
    known = [d for d in (dims if isinstance(dims, (tuple, list)) else [dims]) if isinstance(d, int) and d >= 0]
    return max(known, default=None)
