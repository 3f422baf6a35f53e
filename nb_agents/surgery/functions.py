"""Units and their gates in the functions and methods that a network calls: a table of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx, nn

from nb_agents.surgery.layout import Layout, Piece, Runs
from nb_agents.surgery.ranks import Ranks
from nb_agents.surgery.tracing import (
    ACTIVATION_FUNCTIONS,
    ARITHMETIC,
    COMMUTING_FUNCTIONS,
    PRODUCTS,
    SUMS,
    argument,
    mixed_dims,
    name_of,
    operands,
    shape_of,
)

_COPIES = frozenset(("identity", "contiguous", "clone", "detach", "float", "double", "to"))
"""Operations that change no value."""


@dataclass
class FunctionFlow:
    """Layouts of the values in a traced network, as far as its functions and methods decide.

    Attributes:
        layouts: Layout of each node's value, None if it is unknown or has no units.
        blocked: Gates that cannot be multiplied into weights, with the reason.

    Args:
        root: The module that was traced.
        graphs: Its graphs. Sizes come from its layers and, where they were traced with an example, from there.
        ranks: Numbers of dimensions of their values.
        signed: Names of gates with negative values, which commute with less.
        shifted: Names of gates that add something too, which commutes with next to nothing.
    """

    root: nn.Module
    graphs: Sequence[fx.Graph]
    ranks: Ranks
    signed: frozenset[str] = frozenset()
    shifted: frozenset[str] = frozenset()
    layouts: dict[fx.Node, Layout | None] = field(init=False, default_factory=dict)
    blocked: dict[str, str] = field(init=False, default_factory=dict)

    def _function(self, node: fx.Node, inputs: Sequence[Layout | None]) -> Layout | None:
        name = name_of(node)
        for names, applies, follow in _RULES:
            if name in names and applies(self, node):
                return follow(self, node, name, inputs[0] if inputs else None)
        what = "a sum with other values (a residual skip)" if name in SUMS else f"{name}()"
        self._lose(inputs, f"{what} comes before a linear map")
        first = next((layout for layout in inputs if layout is not None), None)
        return first.without_gates() if first is not None and name in ACTIVATION_FUNCTIONS | ARITHMETIC else None

    def _forget(self, node: fx.Node, name: str, layout: Layout | None) -> None:
        """A question about the tensor: its answer has no units, and what was asked stays as it is."""

    def _keep(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        if self._is_shifted(layout):
            return self._lose([layout], f"{name}() of shifted values comes before a linear map")
        return layout

    def _multiplies(self, node: fx.Node) -> bool:
        """Whether two values are multiplied, such that what scales the units of one scales those of the product."""
        return name_of(node) == "mul" and len(operands(node)) == 2 and not node.kwargs  # not in place

    def _product(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        one, two = layouts = [self.layouts[each] for each in operands(node)]
        gated = [each for each in layouts if each is not None and each.gates]
        if any(self._is_shifted(each) for each in gated):
            return self._lose(gated, "a product of shifted values comes before a linear map")
        first, second = (gated * 2)[:2] if gated else (one, two)
        if first is None or (first.width or 1) < 2:  # of one unit the product may have more
            return self._lose(gated, "a product with other values comes before a linear map")
        if len(gated) < 2:
            return first
        if second is None or (first.axis, first.width) != (second.axis, second.width):
            return self._lose(gated, "a product of differently gated values comes before a linear map")
        runs = _joined(first.flat_runs(), second.flat_runs())
        if runs is None:
            return self._lose(gated, "a product of differently gated values comes before a linear map")
        return Layout(first.axis, (Piece(runs, width=first.width),), first.assumed or second.assumed)

    def _is_shifted(self, layout: Layout | None) -> bool:
        return layout is not None and not self.shifted.isdisjoint(layout.gates)

    def _adds_alike(self, node: fx.Node) -> bool:
        """Whether both summands have the same units under the same gates, and neither may be broadcast."""
        layouts = [self.layouts[each] for each in operands(node)]
        return len(layouts) == 2 and layouts[0] == layouts[1] and (layouts[0] is None or layouts[0].width is not None)

    def _may_pass(self, name: str, layout: Layout) -> bool:
        """Whether an operation passes on what the gates do: factors of their sign, and shifts."""
        if self._is_shifted(layout) and name.lower() not in _COPIES:
            return False
        return self.signed.isdisjoint(layout.gates) or not any(part in name.lower() for part in ("relu", "max"))

    def _hand_on(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        if layout is not None and not self._may_pass(name, layout):
            gate = "a shift" if self._is_shifted(layout) else "a negative gate"
            return self._lose([layout], f"{name} of values with {gate} comes before a linear map")
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

    def _reduce(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        """Pooling over all spatial dimensions."""
        dims, keep = argument(node, 1, "dim", None), argument(node, 2, "keepdim", False)
        if layout is None or dims is None:
            return self._lose([layout], "a reduction over the units comes before a linear map")
        rank = self.ranks.of(node.all_input_nodes[0])
        listed = [dims] if isinstance(dims, int) else dims
        known = rank is not None or all(isinstance(d, int) and d < 0 for d in listed)
        reduced = {d if d < 0 else d - (rank or 0) for d in listed} if known else set()
        passes = self._may_pass(name, layout)
        if layout.axis == -1 or reduced != set(range(layout.axis + 1, 0)) or layout.assumed or not passes:
            return self._lose([layout], "a reduction over some dimensions comes before a linear map")
        return layout if keep else Layout(-1, layout.pieces)

    def _cat(self, node: fx.Node, name: str, layout: Layout | None) -> Layout | None:
        parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
        if isinstance(parts, fx.Node):
            return self._lose([self.layouts[parts]], "concatenation of parts of values comes before a linear map")
        dim = argument(node, 1, "dim", argument(node, 1, "axis", 0))
        layouts = [self.layouts[part] for part in parts]
        known = [each for each in layouts if each is not None]
        axis = known[0].axis if known else -1
        rank = next((rank for part in parts if (rank := self.ranks.of(part)) is not None), None)
        along = dim - rank if rank is not None and isinstance(dim, int) and dim >= 0 else dim
        assumed = along == 1 or any(each.assumed for each in known)  # most likely that of the units
        if any(each.axis != axis for each in known) or along not in (1, axis):
            return self._lose(known, "concatenation along another axis comes before a linear map")
        pieces: list[Piece] = []
        for part, each in zip(parts, layouts, strict=True):
            shape = shape_of(part)
            pieces.extend(each.pieces if each is not None else [Piece(width=shape[axis] if shape else None)])
        return Layout(axis, tuple(pieces), assumed)

    def _lose(self, layouts: Sequence[Layout | None], reason: str) -> Layout | None:
        """Block the gates on values whose units cannot be followed any further."""
        for layout in layouts:
            self._block(layout.gates if layout is not None else frozenset(), reason)
        return None

    def _block(self, gates: frozenset[str], reason: str) -> None:
        for name in sorted(gates):
            self.blocked.setdefault(name, reason)


def _joined(one: Runs | None, two: Runs | None) -> Runs | None:
    """Both factors' gates on each unit; None if the gates' stretches differ."""
    if one is None or two is None or [n for n, _ in one] != [n for n, _ in two]:
        return None
    return tuple((n, (*a, *b)) for (n, a), (_, b) in zip(one, two, strict=True))


def _any(flow: FunctionFlow, node: fx.Node) -> bool:
    return True


def _asks_for_no_values(flow: FunctionFlow, node: fx.Node) -> bool:
    return node.args[1] in ("shape", "ndim", "dtype", "device")


def _reads_one_tensor(flow: FunctionFlow, node: fx.Node) -> bool:
    """Whether an operation has one operand, and is no cast to a type without fractions."""
    kinds = (*node.args[1:], *node.kwargs.values()) if name_of(node) == "to" else ()
    return len(operands(node)) == 1 and all(k.is_floating_point for k in kinds if isinstance(k, torch.dtype))


def _reduces_dimensions(flow: FunctionFlow, node: fx.Node) -> bool:
    return not node.kwargs.keys() - {"dim", "keepdim"}


def _scales_by_number(flow: FunctionFlow, node: fx.Node) -> bool:
    tensors = operands(node)
    by_number = len(tensors) == 1 and (name_of(node) in PRODUCTS or tensors == list(node.args[:1]))
    return by_number and not node.kwargs


_Rule: TypeAlias = tuple[
    frozenset[str],
    Callable[[FunctionFlow, fx.Node], bool],
    Callable[[FunctionFlow, fx.Node, str, Layout | None], Layout | None],
]

_RULES: tuple[_Rule, ...] = (
    (frozenset(("size", "dim", "ndimension", "numel")), _any, FunctionFlow._forget),
    (frozenset(("getattr",)), _asks_for_no_values, FunctionFlow._forget),
    (COMMUTING_FUNCTIONS, _reads_one_tensor, FunctionFlow._hand_on),
    (frozenset(("flatten", "view", "reshape")), _any, FunctionFlow._reshape),
    (frozenset(("mean", "sum", "amax")), _reduces_dimensions, FunctionFlow._reduce),
    (frozenset(("cat", "concat", "concatenate")), _any, FunctionFlow._cat),
    (SUMS, FunctionFlow._adds_alike, FunctionFlow._keep),
    (ARITHMETIC - SUMS, _scales_by_number, FunctionFlow._keep),
    (PRODUCTS, FunctionFlow._multiplies, FunctionFlow._product),
)
"""Names of functions and methods, what must hold of a call, and what then becomes of the units of its first operand."""
