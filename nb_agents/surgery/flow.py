"""What becomes of a gate: which linear maps read the units that it scales, and could do the scaling themselves.

A gate multiplies the units of one layer. Operations that commute with a positive factor per unit (dropout, pooling,
flattening, ReLU) hand the factor on, the next linear maps can take it into their columns, and everything else cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from nb_agents.gates.gate import ACTIVATIONS, CONVOLUTIONS, KGate, is_normalization
from nb_agents.surgery.layout import Layout, Piece, units
from nb_agents.surgery.ranks import Ranks
from nb_agents.surgery.tracing import (
    ACTIVATION_FUNCTIONS,
    COMMUTING_FUNCTIONS,
    COMMUTING_MODULES,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    ScaleSink,
    argument,
    has_hooks,
    mixed_dims,
    name_of,
    operands,
    shape_of,
)
from nb_agents.surgery.weights import TRANSPOSED, Multiply, Use, factor_of, into, sizes_of

_QUERIES = frozenset(("size", "dim", "ndimension", "numel"))  # they read a tensor's shape, not its values
_ATTRIBUTES = frozenset(("shape", "ndim", "dtype", "device"))


@dataclass
class Flow:
    """What happens to the units of every layer, and to gates on them, through a traced network.

    Attributes:
        layouts: For each node the layout of its value, None if it is unknown or has no units.
        uses: For each weight, by ``id``, everything that reads with it.
        blocked: Gates that cannot be multiplied into weights, with the reason.

    Args:
        root: The module that was traced.
        graphs: Its graphs. Sizes come from its layers and, where they were traced with an example, from there.
        ranks: How many dimensions their values have.
        activations: Activation modules besides torch's own.
        ungated: Names of gates to take for plain activations.
        signed: Names of gates with negative values, which commute with less.
    """

    root: nn.Module
    graphs: Sequence[fx.Graph]
    ranks: Ranks
    activations: tuple[type[nn.Module], ...] = ()
    ungated: Collection[str] = ()
    signed: frozenset[str] = frozenset()
    layouts: dict[fx.Node, Layout | None] = field(init=False, default_factory=dict)
    uses: dict[int, list[Use]] = field(init=False, default_factory=dict)
    blocked: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for graph in self.graphs:
            for node in graph.nodes:
                layout = self.layouts[node] = self._layout(node)
                if "kept" in node.meta:
                    self._lose([layout], f"its values are kept as {node.meta['kept']!r}")
        for uses in self.uses.values():
            if any(use.features != uses[0].features for use in uses):
                for use in uses:
                    self._block(use.gates, f"the weights of {use.reader} are used several times, not always behind it")

    def _layout(self, node: fx.Node) -> Layout | None:
        inputs = [self.layouts[n] for n in node.all_input_nodes]
        if node.op == "call_module":
            return self._module(node, self.root.get_submodule(str(node.target)), inputs)
        if node.op in ("call_function", "call_method"):
            return self._function(node, name_of(node), inputs)
        if node.op == "get_attr":  # a weight that a function reads
            path, _, name = str(node.target).rpartition(".")
            if isinstance(self.root.get_submodule(path), KGate):
                self._block(frozenset((path,)), f"its {name} is read besides")
            self._reads_alone(getattr(self.root.get_submodule(path), name, None), node)
        if node.op == "output":
            self._lose(inputs, "its values leave the network with no linear map behind it")
        return None

    def _module(self, node: fx.Node, module: nn.Module, inputs: Sequence[Layout | None]) -> Layout | None:
        layout = inputs[0] if inputs else None
        if isinstance(module, KGate):
            if has_hooks(module) or has_hooks(module.activation):
                self._block(frozenset((str(node.target),)), "it has forward hooks or a forward of its own")
            return self._gate(str(node.target), module, layout)
        if isinstance(module, ScaleSink):
            self._read(node, id(module), layout, -1, None if layout is None else layout.width, module.absorb)
            return layout
        if isinstance(module, (nn.Linear, *CONVOLUTIONS, nn.RNNBase)) and not has_hooks(module):
            if len(operands(node)) > 1:
                self._lose(inputs, f"as one of several inputs of {node.target} it comes before a linear map")
                layout = None
            return self._linear(node, module, layout)
        for parameter in module.parameters():
            self._reads_alone(parameter, node)
        if has_hooks(module):
            return self._lose(inputs, f"{node.target} has forward hooks or a forward of its own")
        if isinstance(module, nn.Flatten):
            return self._flatten(node, layout, module.start_dim, module.end_dim)
        if isinstance(module, COMMUTING_MODULES):
            return self._hand_on(type(module).__name__, layout)
        self._lose(inputs, f"{node.target} ({type(module).__name__}) comes before a linear map")
        keeps_units = isinstance(module, (*ACTIVATIONS, *self.activations)) or is_normalization(module)
        return layout.without_gates() if layout is not None and keeps_units else None

    def _reads_alone(self, weight: Any, node: fx.Node) -> None:
        """Note that ``weight`` is read in a way that no gate can be multiplied into, so that others cannot scale it."""
        self.uses.setdefault(id(weight), []).append(Use(str(node.target)))

    def _gate(self, name: str, gate: KGate, layout: Layout | None) -> Layout:
        passed: tuple[str, ...] = ()
        if layout is not None and layout.gates:
            runs = layout.pieces[0].runs
            one_run = len(layout.pieces) == 1 and len(runs) == 1 and layout.pieces[0].spread == "each"
            activation = type(gate.activation)
            passes = issubclass(activation, COMMUTING_MODULES) and self._may_pass(activation.__name__, layout)
            if passes and one_run and layout.axis == -1 - gate.spatial_dims:
                passed = runs[0][1]
            else:
                self._lose([layout], f"{name} comes before a linear map")
        own = () if name in self.ungated else (name,)
        return units(gate.n_units, gate.spatial_dims, (*passed, *own))

    def _linear(self, node: fx.Node, module: nn.Module, layout: Layout | None) -> Layout | None:
        names = ["weight"]
        if isinstance(module, nn.RNNBase):
            names = ["weight_ih_l0", *(["weight_ih_l0_reverse"] if module.bidirectional else [])]
        if layout is not None and not module._parameters.keys() >= set(names):
            self._lose([layout], f"the weight of {node.target} is computed by a parametrization or a hook")
            layout = layout.without_gates()
        if isinstance(module, nn.RNNBase):
            for name in names:
                weight = getattr(module, name)
                self._read(node, id(weight), layout, -1, module.input_size, into(weight))
            return None
        weight, groups, dims, width, n_units = sizes_of(module)
        multiply = into(weight, groups, transposed=isinstance(module, TRANSPOSED))
        self._read(node, id(weight), layout, -1 - dims, width, multiply)
        return units(n_units, dims)

    def _read(
        self,
        node: fx.Node,
        weight: int,
        layout: Layout | None,
        axis: int,
        width: int | None,
        multiply: Multiply,
    ) -> None:
        use = Use(str(node.target))
        self.uses.setdefault(weight, []).append(use)
        if layout is None or not layout.gates:
            return
        features = layout.features(width) if width is not None else None
        if layout.axis != axis:
            self._lose([layout], f"{node.target} reads along another axis than that of the gated units")
        elif features is None:
            self._lose([layout], f"which inputs of {node.target} it scales is unknown without example_inputs")
        else:
            use.features, use.multiply = features, multiply

    def _function(self, node: fx.Node, name: str, inputs: Sequence[Layout | None]) -> Layout | None:
        layout = inputs[0] if inputs else None
        tensors = operands(node)
        if name in _QUERIES or (name == "getattr" and node.args[1] in _ATTRIBUTES):
            return None
        if name in COMMUTING_FUNCTIONS and len(tensors) == 1 and _stays_floating(node, name):
            return self._hand_on(name, layout)
        if name in ("flatten", "view", "reshape"):
            return self._reshape(node, name, layout)
        if name in ("mean", "sum", "amax") and not node.kwargs.keys() - {"dim", "keepdim"}:
            return self._reduce(node, layout)
        if name in ("cat", "concat", "concatenate"):
            return self._cat(node)
        alike = len(tensors) == 2 and self.layouts[tensors[0]] == self.layouts[tensors[1]]
        if name in SUMS and alike and (layout is None or layout.width is not None):  # else one may be broadcast
            return layout
        by_number = len(tensors) == 1 and (name in PRODUCTS or tensors == list(node.args[:1]))
        if name in PRODUCTS | QUOTIENTS and by_number and not node.kwargs:
            return layout
        what = "a sum with other values (a residual skip)" if name in SUMS else f"{name}()"
        self._lose(inputs, f"{what} comes before a linear map")
        keeps_units = name in ACTIVATION_FUNCTIONS | SUMS | PRODUCTS | QUOTIENTS
        first = next((layout for layout in inputs if layout is not None), None)
        return first.without_gates() if first is not None and keeps_units else None

    def _may_pass(self, name: str, layout: Layout) -> bool:
        """Whether the gates' factors have the sign that an operation passes on."""
        return self.signed.isdisjoint(layout.gates) or not any(part in name.lower() for part in ("relu", "max"))

    def _hand_on(self, name: str, layout: Layout | None) -> Layout | None:
        if layout is not None and not self._may_pass(name, layout):
            return self._lose([layout], f"{name} of values with a negative gate comes before a linear map")
        if layout is None or layout.axis < -mixed_dims(name):
            return layout
        return self._lose([layout], f"{name} over neighbouring units comes before a linear map")

    def _reshape(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        if name == "flatten":
            start = argument(node, 1, "start_dim", 0)
            return self._flatten(node, layout, start, argument(node, 2, "end_dim", -1))
        sizes: Any = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], (tuple, list)) else node.args[1:]
        are_sizes = bool(sizes) and all(isinstance(size, (int, fx.Node)) for size in sizes)
        if layout is not None and layout.axis == -1 and are_sizes and not layout.assumed:
            # Units along the last axis stay in order: a row of the new shape is one of the old ones, or several.
            return layout if sizes[-1] == layout.width else self._flatten(node, layout, -1, -1)
        if len(sizes) == 2 and self._is_batched(node, layout):
            # view(-1, n) may mix samples with channels, unless it is seen that the number of rows stays.
            source = node.all_input_nodes[0]
            rows_stay = sizes[1] == -1 and self.ranks.is_batch_of(sizes[0], source)
            if rows_stay or (shape_of(source) or [0])[0] == (shape_of(node) or [1])[0]:
                return self._flatten(node, layout, 1, -1)
        return self._lose([layout], f"{name}() comes before a linear map (example_inputs may tell its sizes)")

    def _is_batched(self, node: fx.Node, layout: Layout | None) -> bool:
        """Whether the units' axis of a node's input is the one behind the batch; True where there are no units."""
        return layout is None or self.ranks.of(node.all_input_nodes[0]) == 1 - layout.axis

    def _flatten(self, node: fx.Node, layout: Layout | None, start: Any, end: Any) -> Layout | None:
        shape = shape_of(node)
        if layout is None:
            return Layout(-1, (Piece(width=shape[-1]),)) if shape else None
        rank = self.ranks.of(node.all_input_nodes[0])
        first, last = (d if d < 0 or rank is None else d - rank for d in (start, end))
        if rank is not None and last < layout.axis:
            return layout  # dimensions before that of the units
        if last != -1 or (layout.axis != -1 and first != layout.axis) or layout.assumed:
            why = "flattening along these dimensions comes before a linear map"
            return self._lose([layout], f"{why} (example_inputs may tell which they are)" if rank is None else why)
        if layout.axis == -1 and shape and shape[-1] == layout.width:
            return layout
        runs = layout.flat_runs()
        if runs is None:
            return self._lose([layout], "flattening values of unknown size comes before a linear map")
        return Layout(-1, (Piece(runs, "tile" if layout.axis == -1 else "repeat", shape[-1] if shape else None),))

    def _reduce(self, node: fx.Node, layout: Layout | None) -> Layout | None:
        """Pooling over all spatial dimensions."""
        dims, keep = argument(node, 1, "dim", None), argument(node, 2, "keepdim", False)
        if layout is None or dims is None:
            return self._lose([layout], "a reduction over the units comes before a linear map")
        rank = self.ranks.of(node.all_input_nodes[0])
        listed = [dims] if isinstance(dims, int) else dims
        known = rank is not None or all(isinstance(d, int) and d < 0 for d in listed)
        reduced = {d if d < 0 else d - (rank or 0) for d in listed} if known else set()
        passes = self._may_pass(name_of(node), layout)
        if layout.axis == -1 or reduced != set(range(layout.axis + 1, 0)) or layout.assumed or not passes:
            return self._lose([layout], "a reduction over some dimensions comes before a linear map")
        return layout if keep else Layout(-1, layout.pieces)

    def _cat(self, node: fx.Node) -> Layout | None:
        parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
        if isinstance(parts, fx.Node):
            return self._lose([self.layouts[parts]], "concatenation of parts of values comes before a linear map")
        dim = argument(node, 1, "dim", argument(node, 1, "axis", 0))
        layouts = [self.layouts[part] for part in parts]
        known = [layout for layout in layouts if layout is not None]
        axis = known[0].axis if known else -1
        rank = next((rank for part in parts if (rank := self.ranks.of(part)) is not None), None)
        along = dim - rank if rank is not None and isinstance(dim, int) and dim >= 0 else dim
        assumed = along == 1 or any(layout.assumed for layout in known)  # most likely that of the units
        if any(layout.axis != axis for layout in known) or along not in (1, axis):
            self._lose(known, "concatenation along another axis comes before a linear map")
            return None
        pieces: list[Piece] = []
        for part, layout in zip(parts, layouts, strict=True):
            shape = shape_of(part)
            pieces.extend(layout.pieces if layout is not None else [Piece(width=shape[axis] if shape else None)])
        return Layout(axis, tuple(pieces), assumed)

    def _lose(self, layouts: Sequence[Layout | None], reason: str) -> Layout | None:
        """Block the gates on values whose units cannot be followed any further."""
        for layout in layouts:
            self._block(layout.gates if layout is not None else frozenset(), reason)
        return None

    def _block(self, gates: frozenset[str], reason: str) -> None:
        for name in sorted(gates):
            self.blocked.setdefault(name, reason)

    @torch.no_grad()
    def absorb(self, values: Mapping[str, torch.Tensor]) -> None:
        """Multiply factors, by gate, each of shape ``(n_units,)``, into the weights behind the gates, in place."""
        for uses in self.uses.values():
            if uses[0].gates:
                assert uses[0].multiply is not None
                uses[0].multiply(factor_of(uses[0].features, values))


def _stays_floating(node: fx.Node, name: str) -> bool:
    """Whether a cast keeps numbers with a fraction; any other operation does."""
    if name != "to":
        return True
    kinds = (*node.args[1:], *node.kwargs.values())
    return all(kind.is_floating_point if isinstance(kind, torch.dtype) else True for kind in kinds)
