"""What becomes of a gate: which linear maps read the units that it scales, and could do the scaling themselves.

A gate multiplies the units of one layer. Operations that commute with a positive factor per unit (dropout, pooling,
flattening, ReLU) hand the factor on, the next linear maps can take it into their columns, and everything else cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import fx, nn

from nb_agents.gates import ACTIVATIONS, CONVOLUTIONS, KGate, is_normalization
from nb_agents.layout import Layout, Piece, Runs, units
from nb_agents.tracing import (
    ACTIVATION_FUNCTIONS,
    COMMUTING_FUNCTIONS,
    COMMUTING_MODULES,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    ScaleSink,
    argument,
    mixed_dims,
    name_of,
    shape_of,
)
from nb_agents.weights import TRANSPOSED, FoldError, Multiply, factor_of, into, sizes_of

_QUERIES = frozenset(("size", "dim", "ndimension", "numel"))  # they read a tensor's shape, not its values
_ATTRIBUTES = frozenset(("shape", "ndim", "dtype", "device"))


@dataclass
class Use:
    """A weight reading scaled features: ``features`` runs over its input, and how to multiply them into it."""

    reader: str
    features: Runs = ()
    multiply: Multiply | None = None

    @property
    def gates(self) -> frozenset[str]:
        """Names of the gates among the features."""
        return frozenset(name for _, gates in self.features for name in gates)


@dataclass
class Flow:
    """What happens to the units of every layer, and to gates on them, through a traced network.

    Attributes:
        layouts: For each node the layout of its value, None if it is unknown or has no units.
        uses: For each weight, by ``id``, everything that reads with it.
        blocked: Gates that cannot be multiplied into weights, with the reason.

    Args:
        root: The module that was traced.
        graph: Its graph. Sizes come from its layers and, where it was traced with an example, from there.
        activations: Activation modules besides torch's own.
    """

    root: nn.Module
    graph: fx.Graph
    activations: tuple[type[nn.Module], ...] = ()
    layouts: dict[fx.Node, Layout | None] = field(init=False, default_factory=dict)
    uses: dict[int, list[Use]] = field(init=False, default_factory=dict)
    blocked: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            self.layouts[node] = self._layout(node)
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
            self._reads_alone(reduce(getattr, str(node.target).split("."), self.root), node)
        if node.op == "output":
            self._lose(inputs, "its values leave the network with no linear map behind it")
        return None

    def _module(self, node: fx.Node, module: nn.Module, inputs: Sequence[Layout | None]) -> Layout | None:
        layout = inputs[0] if inputs else None
        if isinstance(module, KGate):
            return self._gate(str(node.target), module, layout)
        if isinstance(module, ScaleSink):
            self._read(node, id(module), layout, -1, None if layout is None else layout.width, module.absorb)
            return layout
        if isinstance(module, (nn.Linear, *CONVOLUTIONS, nn.RNNBase)):
            self._lose(inputs[1:], f"as a second input of {node.target} it comes before a linear map")
            return self._linear(node, module, layout)
        for parameter in module.parameters():
            self._reads_alone(parameter, node)
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
            if isinstance(gate.activation, COMMUTING_MODULES) and one_run and layout.axis == -1 - gate.spatial_dims:
                passed = runs[0][1]
            else:
                self._lose([layout], f"{name} comes before a linear map")
        return units(gate.n_units, gate.spatial_dims, (*passed, name))

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
        tensors = [arg for arg in (*node.args, *node.kwargs.values()) if isinstance(arg, fx.Node)]
        if name in _QUERIES or (name == "getattr" and node.args[1] in _ATTRIBUTES):
            return None
        if name in COMMUTING_FUNCTIONS:
            return self._hand_on(name, layout)
        if name in ("flatten", "view", "reshape"):
            return self._reshape(node, name, layout)
        if name in ("mean", "sum", "amax"):
            return self._reduce(node, layout)
        if name in ("cat", "concat", "concatenate"):
            return self._cat(node)
        if name in SUMS and len(tensors) == 2 and self.layouts[tensors[0]] == self.layouts[tensors[1]]:
            return layout
        by_number = len(tensors) == 1 and (name in PRODUCTS or tensors == list(node.args[:1]))
        if name in PRODUCTS | QUOTIENTS and by_number:
            return layout
        what = "a sum with other values (a residual skip)" if name in SUMS else f"{name}()"
        self._lose(inputs, f"{what} comes before a linear map")
        keeps_units = name in ACTIVATION_FUNCTIONS | SUMS | PRODUCTS | QUOTIENTS
        first = next((layout for layout in inputs if layout is not None), None)
        return first.without_gates() if first is not None and keeps_units else None

    def _hand_on(self, name: str, layout: Layout | None) -> Layout | None:
        if layout is None or layout.axis < -mixed_dims(name):
            return layout
        return self._lose([layout], f"{name} over neighbouring units comes before a linear map")

    def _reshape(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        if name == "flatten":
            start = argument(node, 1, "start_dim", 0)
            return self._flatten(node, layout, start, argument(node, 2, "end_dim", -1))
        sizes: Any = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], tuple) else node.args[1:]
        if len(sizes) == 2:
            # view(-1, n) may mix samples with channels, unless it is seen that the number of rows stays.
            rows_stay = _same_rows(node) if shape_of(node) else isinstance(sizes[0], fx.Node) and sizes[1] == -1
            if rows_stay or (layout is not None and layout.axis == -1):
                return self._flatten(node, layout, 1, -1)
        return self._lose([layout], f"{name}() comes before a linear map (example_inputs may tell its sizes)")

    def _flatten(self, node: fx.Node, layout: Layout | None, start: Any, end: Any) -> Layout | None:
        shape = shape_of(node)
        if layout is None:
            return Layout(-1, (Piece(width=shape[-1]),)) if shape else None
        if end != -1 or start not in (1, layout.axis):
            return self._lose([layout], "flattening along these dimensions comes before a linear map")
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
        rank = 1 - layout.axis  # with the batch dimension
        reduced = {d - rank if d > 0 else d for d in ([dims] if isinstance(dims, int) else dims)}
        if layout.axis == -1 or reduced != set(range(layout.axis + 1, 0)):
            return self._lose([layout], "a reduction over some dimensions comes before a linear map")
        return layout if keep else Layout(-1, layout.pieces)

    def _cat(self, node: fx.Node) -> Layout | None:
        parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
        if isinstance(parts, fx.Node):
            return self._lose([self.layouts[parts]], "concatenation of parts of values comes before a linear map")
        dim = argument(node, 1, "dim", 0)
        layouts = [self.layouts[part] for part in parts]
        known = [layout for layout in layouts if layout is not None]
        axis = known[0].axis if known else -1
        if any(layout.axis != axis for layout in known) or dim not in (1, axis):
            self._lose(known, "concatenation along another axis comes before a linear map")
            return None
        pieces: list[Piece] = []
        for part, layout in zip(parts, layouts, strict=True):
            shape = shape_of(part)
            pieces.extend(layout.pieces if layout is not None else [Piece(width=shape[axis] if shape else None)])
        return Layout(axis, tuple(pieces))

    def _lose(self, layouts: Sequence[Layout | None], reason: str) -> Layout | None:
        """Block the gates on values whose units cannot be followed any further."""
        for layout in layouts:
            self._block(layout.gates if layout is not None else frozenset(), reason)
        return None

    def _block(self, gates: frozenset[str], reason: str) -> None:
        for name in sorted(gates):
            self.blocked.setdefault(name, reason)

    @torch.no_grad()
    def absorb(self, gates: Mapping[str, KGate], *, inverse: bool = False) -> None:
        """Multiply every gate into the weights that read behind it, in place.

        Args:
            gates: The gates by the names that they were traced under.
            inverse: Divide instead: the network with these gates then computes what it did without them.

        Raises:
            FoldError: If a gate is blocked; no weight has changed then.
            ValueError: If ``inverse`` and a gate is so small that dividing by it overflows; likewise.
        """
        if self.blocked:
            raise FoldError("; ".join(f"gate {name!r}: {reason}" for name, reason in self.blocked.items()))
        values = {name: gate.gate().detach().flatten().expand(gate.n_units) for name, gate in gates.items()}
        closed = [name for name, g in values.items() if g.min() < torch.finfo(g.dtype).tiny]
        if inverse and closed:
            raise ValueError(f"k_init must leave the gates open: the weights behind {closed} cannot be divided by 0")
        for uses in self.uses.values():
            if uses[0].gates:
                assert uses[0].multiply is not None
                factor = factor_of(uses[0].features, values)
                uses[0].multiply(1 / factor if inverse else factor)


def _same_rows(node: fx.Node) -> bool:
    before, after = shape_of(node.all_input_nodes[0]), shape_of(node)
    return before is not None and after is not None and before[0] == after[0]
