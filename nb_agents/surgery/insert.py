"""Gates put into any torch module."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from nb_agents._checks import check_flag
from nb_agents._objects import free_name
from nb_agents.gates.gate import ACTIVATIONS, KGate, is_normalization, named_gates
from nb_agents.gates.kind import gate_arguments
from nb_agents.policies.placing import Units, make_gate
from nb_agents.surgery.absorbing import absorb
from nb_agents.surgery.copies import copy_of
from nb_agents.surgery.doubts import follow
from nb_agents.surgery.flow import Flow
from nb_agents.surgery.graph_modules import as_graph_module
from nb_agents.surgery.paths import entry_methods
from nb_agents.surgery.ranks import Ranks
from nb_agents.surgery.sameness import difference
from nb_agents.surgery.tracing import (
    TraceError,
    attribute_of,
    in_mode,
    is_activation,
    is_linear,
    separate_children,
    trace_path,
    walk,
)
from nb_agents.surgery.weights import FoldError


def insert_gates(
    module: nn.Module,
    block_size: int | None = 16,
    neutral: bool = True,
    block_weight: float = 0.3,
    k_init: float | None = None,
    *,
    gate_max: float | None = 2.0,
    gate_class: type[KGate] = KGate,
    exclude: Collection[str] = (),
    activations: tuple[type[nn.Module], ...] = (),
    example_inputs: tuple[Any, ...] | None = None,
) -> nn.Module:
    """A copy of ``module`` with a gate behind every hidden activation, that is, one with a linear map behind it.

    Activations are found by tracing ``forward`` with `torch.fx`. Where each is a module that is called once, a `KGate`
    takes its place and the module keeps its class, its methods and the names in its state dict. Where some are
    functions, or modules called several times, the copy is a `torch.fx.GraphModule` with the same submodules; numbers
    (and None) that ``forward`` takes from attributes are frozen in. A forward that cannot be traced, or that one graph
    cannot stand for, keeps its class, its children are gated each for itself, and a warning names what that leaves out.
    Where a normalization follows the activation the gate goes behind it, as the normalization would undo it.

    Args:
        module: Any network without gates: linear layers, convolutions (gated per channel), residual blocks.
        block_size: Units per block gate; None for layer gates alone.
        neutral: Whether the copy computes what ``module`` does: to the last bit where every gate starts at exactly 1,
            as with the defaults. Elsewhere the weights are divided by the gates, and it is the same up to rounding.
        block_weight: Weight of a block's gate beside the layer's, >= 0.
        k_init: Start value of every k; None for the kind's own (0), or the paper's 0.25 if ``gate_max`` is None.
        gate_max: Bound that every gate stays below; None for the paper's gate.
        gate_class: Kind of the gates, a subclass of `KGate` with a formula of its own.
        exclude: Gates to leave out, by the names that `named_gates` and error messages give them.
        activations: Classes of activation modules besides torch's own.
        example_inputs: Arguments of ``forward``, a batch of at least two. Needed only where sizes do not follow from
            the layers alone; wherever given, the copy is compared with ``module`` on them in both modes.

    Raises:
        TypeError: If ``module`` is no `nn.Module` or an argument is not of its kind.
        ValueError: If the module has gates already or no hidden activation, a number is out of its range, ``exclude``
            names no gate, the number of an activation's units is unknown, or the copy does not compute the same.
        FoldError: If ``neutral``, the gates do not start at 1, and the weights cannot be divided by them.
    """
    check_module(module)
    k_init = 0.25 if k_init is None and gate_max is None else k_init
    gate_kwargs = gate_arguments(gate_class, block_size, block_weight, gate_max, k_init)
    check_flag("neutral", neutral)
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a collection of names, got {exclude!r}")
    if not all(isinstance(each, type) and issubclass(each, nn.Module) for each in activations):
        raise TypeError(f"activations must be classes of modules, got {activations!r}")
    if any(named_gates(module)):
        raise ValueError(f"module must be without gates, but has {[name for name, _ in named_gates(module)]}")
    surgeon = _Surgeon(gate_kwargs, exclude, activations, neutral)
    gated = surgeon.operate(_with_own_activations(copy_of(module), activations), example_inputs)
    unknown = sorted(set(exclude) - surgeon.found)
    if unknown:
        raise ValueError(f"exclude must name gates among {sorted(surgeon.found)}, got {unknown}")
    if not any(named_gates(gated)):
        reason = "; ".join(surgeon.untraced) or "no activation with a linear map before and behind it was found"
        raise ValueError(f"{type(module).__name__} has no hidden activation to gate: {reason}")
    if example_inputs is not None:
        compared = gated if neutral else _opened(gated)
        if differs := difference(module, compared, lambda m: m(*example_inputs)):
            raise ValueError(f"the copy of {type(module).__name__} does not compute the same: {differs}")
    for message in surgeon.untraced:
        warnings.warn(message, stacklevel=2)
    return gated


def _opened(gated: nn.Module) -> nn.Module:
    """A copy whose gates are all 1."""
    opened = copy_of(gated)
    for gate in (gate for _, gate in named_gates(opened)):
        # In the place of the method, because a kind of gates may have no k at which it is 1.
        gate.gate = lambda k=None, n=gate.spatial_dims, like=gate.k: like.new_ones((1, *(1,) * n))  # type: ignore[method-assign, misc]
    return opened


class _Place(NamedTuple):
    """A gate to be: behind ``node``, whose module it wraps if ``in_place``."""

    name: str
    node: fx.Node
    units: Units
    in_place: bool


@dataclass
class _Surgeon:
    """One `insert_gates`; remembers what it found while it walks down an untraceable module's children."""

    gate_kwargs: dict[str, Any]
    exclude: Collection[str]
    activations: tuple[type[nn.Module], ...]
    neutral: bool
    found: set[str] = field(default_factory=set)
    untraced: list[str] = field(default_factory=list)

    def operate(self, root: nn.Module, example_inputs: tuple[Any, ...] | None, prefix: str = "") -> nn.Module:
        """Gate ``root`` in place, or return the graph module that replaces it."""
        try:
            graph, branches = trace_path(root, self.activations, example_inputs, turns=())
            graphs = [graph, *_other_graphs(root, self.activations)]
            places = list(self._places(Flow(root, graphs, Ranks(root, graphs), activations=self.activations), prefix))
            self.found |= {prefix + place.name for place in places}
            gated, places = self._receiver(root, graph, places, prefix, branches=bool(branches))
        except TraceError as error:
            self.untraced.append(f"{prefix}{error}. Only its children were gated, each up to its last linear map")
            for name, child in separate_children(root):
                if any(True for _ in child.children()):
                    root._modules[name] = self.operate(child, None, f"{prefix}{name}.")
            return root
        for place in places:
            self._insert(gated, place)
        if isinstance(gated, fx.GraphModule):
            gated.recompile()
        one = make_gate(Units(1, 0, torch.ones(1)), nn.Identity(), **self.gate_kwargs)
        if self.neutral and places and not one.gate().eq(1).all():
            self._divide(gated, prefix, example_inputs)
        return gated

    def _receiver(
        self, root: nn.Module, graph: fx.Graph, places: list[_Place], prefix: str, *, branches: bool
    ) -> tuple[nn.Module, list[_Place]]:
        """The module that the gates go into, and those of the places that it has."""
        in_place = [place for place in places if place.in_place]
        if len(in_place) == len(places):
            return root, places
        try:
            if branches:
                raise TraceError(f"{type(root).__name__}.forward branches on values")
            return as_graph_module(root, graph, self.activations), places
        except TraceError as error:
            if not in_place:
                raise
            left = [prefix + place.name for place in places if not place.in_place]
            self.untraced.append(f"{prefix}{error}: {left} (functions, or modules called several times) got no gate")
            return root, in_place

    def _places(self, flow: Flow, prefix: str) -> Iterator[_Place]:
        modules = dict(flow.root.named_modules())
        graph = flow.graphs[0]
        calls = [[node for node in g.nodes if node.op == "call_module"] for g in flow.graphs]
        for node in graph.nodes:
            if not is_activation(node, modules, self.activations):
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
            if prefix + name in self.exclude:
                self.found.add(prefix + name)
            elif layout is None or layout.width is None or (once and len(widths) > 1):
                raise ValueError(
                    f"cannot tell the number of units behind {prefix + name!r}: pass example_inputs, or leave it "
                    f"ungated with exclude=({prefix + name!r},)"
                )
            else:
                units = Units(layout.width, -1 - layout.axis, _weight_of(layer, flow.root))
                yield _Place(name, node, units, once)

    def _insert(self, root: nn.Module, place: _Place) -> None:
        activation = root.get_submodule(place.name) if place.in_place else nn.Identity().train(root.training)
        gate = make_gate(place.units, activation, **self.gate_kwargs)
        if place.in_place:
            root.set_submodule(place.name, gate)
            return
        assert isinstance(root, fx.GraphModule)
        root.add_submodule(place.name, gate)
        with root.graph.inserting_after(place.node):
            call = root.graph.call_module(place.name, (place.node,))
        place.node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)

    def _divide(self, gated: nn.Module, prefix: str, example_inputs: tuple[Any, ...] | None) -> None:
        try:
            graphs = follow(gated, entry_methods(gated), example_inputs)
            absorb(gated, graphs, dict(named_gates(gated)), inverse=True)
        except FoldError as error:
            hint = f"gates {[prefix + n for n, _ in named_gates(gated)]} that start at 1 (gate_max=2.0, k_init=None)"
            raise FoldError(f"no neutral {error}. Nothing has to be divided with {hint}") from None


def _other_graphs(root: nn.Module, leaves: tuple[type[nn.Module], ...]) -> Iterator[fx.Graph]:
    """Further graphs of ``root``, where it can be traced: of the other mode, and of other public methods."""
    for method, mode in itertools.product(entry_methods(root), (True, False)):
        with suppress(TraceError), in_mode(root, training=mode):
            yield trace_path(root, leaves, method=method, turns=())[0]


def _weight_of(layer: fx.Node, root: nn.Module) -> torch.Tensor:
    """A weight of the layer, which says where the units behind it are and of which type."""
    if layer.op == "call_module":
        return next(p for p in root.get_submodule(str(layer.target)).parameters() if p.dim() > 1)
    attributes = [n for n in layer.all_input_nodes if n.op == "get_attr"]
    found = [attribute_of(root, str(n.target)) for n in attributes]
    tensors = [t for t in (*found, *root.parameters()) if torch.is_tensor(t) and t.is_floating_point()]
    return tensors[0]


def check_module(module: Any) -> None:
    """Refuse what is no torch module."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")


def _with_own_activations(module: nn.Module, activations: tuple[type[nn.Module], ...]) -> nn.Module:
    """Give every slot that shares its activation with another one of its own, so that each can be gated apart."""
    seen: set[int] = set()
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, (*ACTIVATIONS, *activations)):
                # A shallow copy: parameters, as of a PReLU, stay shared.
                parent._modules[name] = copy.copy(child) if id(child) in seen else child
                seen.add(id(child))
    return module
