"""Gates put into any torch module."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from nb_agents._checks import check_flag
from nb_agents.gates.gate import ACTIVATIONS, KGate, named_gates
from nb_agents.gates.kind import gate_arguments
from nb_agents.policies.placing import Units, make_gate
from nb_agents.surgery.absorbed import absorb_in, absorbed, check_module
from nb_agents.surgery.copies import copy_of
from nb_agents.surgery.flow import Flow
from nb_agents.surgery.graph_modules import as_graph_module
from nb_agents.surgery.paths import entry_methods
from nb_agents.surgery.places import Place, other_graphs, places
from nb_agents.surgery.ranks import Ranks
from nb_agents.surgery.sameness import difference
from nb_agents.surgery.tracing import TraceError, separate_children, trace_path
from nb_agents.surgery.transformers import gate_transformer, is_opaque, transformer_layers, why_not_gated
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
    fixed: bool = False,
    foldable: bool = False,
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
        fixed: Whether the attributes that decide what is computed are promised to stay as they are, as in a network of
            torchvision's; needs ``example_inputs``. See `fold_gates`, which wants the same promise.
        foldable: Whether to leave out the gates that `fold_gates` could not take out again, such as one in front of a
            residual skip; a warning names them with the reasons. Asked for ``forward`` alone.

    Raises:
        TypeError: If ``module`` is no `nn.Module` or an argument is not of its kind.
        ValueError: If the module has gates already or no hidden activation, a number is out of its range, ``exclude``
            names no gate, the number of an activation's units is unknown, or the copy does not compute the same.
        FoldError: If ``neutral``, the gates do not start at 1, and the weights cannot be divided by them; if
            ``foldable`` and no part of the network can be folded.
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
    if check_flag("fixed", fixed) and example_inputs is None:
        raise ValueError("fixed=True needs example_inputs, to compare the copy on")
    check_flag("foldable", foldable)
    left: dict[str, str] = {}
    while True:
        surgeon = _Surgeon(gate_kwargs, {*exclude, *left}, activations, neutral, fixed, foldable)
        gated = surgeon.operate(_with_own_activations(copy_of(module), activations), example_inputs)
        left |= surgeon.left
        if not foldable or not (more := _unfoldable(gated, example_inputs, fixed=fixed)):
            break
        left |= more
    unknown = sorted(set(exclude) - surgeon.found)
    if unknown:
        raise ValueError(f"exclude must name gates among {sorted(surgeon.found)}, got {unknown}")
    if not any(named_gates(gated)):
        reasons = [*surgeon.untraced, *(f"{name!r}: {why}" for name, why in left.items())]
        reason = "; ".join(reasons) or "no activation with a linear map before and behind it was found"
        raise ValueError(f"{type(module).__name__} has no hidden activation to gate: {reason}")
    if example_inputs is not None:
        compared = gated if neutral else _opened(gated)
        if differs := difference(module, compared, lambda m: m(*example_inputs)):
            raise ValueError(f"the copy of {type(module).__name__} does not compute the same: {differs}")
    if left:
        surgeon.untraced.append("left out, as they could not be folded: "
                                + "; ".join(f"{name!r} ({why})" for name, why in left.items()))  # fmt: skip
    for message in surgeon.untraced:
        warnings.warn(message, stacklevel=2)
    return gated


def _unfoldable(gated: nn.Module, example_inputs: tuple[Any, ...] | None, *, fixed: bool) -> dict[str, str]:
    """The gates that cannot be folded, with the reasons."""
    if not any(named_gates(gated)):
        return {}
    try:
        absorbed(gated, example_inputs, (), fixed=fixed)
    except FoldError as error:
        if not error.gates:
            raise
        return error.gates
    return {}


def _opened(gated: nn.Module) -> nn.Module:
    """A copy whose gates are all 1."""
    opened = copy_of(gated)
    for gate in (gate for _, gate in named_gates(opened)):
        # In the place of the method, because a kind of gates may have no k at which it is 1.
        gate.gate = lambda k=None, n=gate.spatial_dims, like=gate.k: like.new_ones((1, *(1,) * n))  # type: ignore[method-assign, misc]
    return opened


@dataclass
class _Surgeon:
    """One `insert_gates`; remembers what it found while it walks down an untraceable module's children."""

    gate_kwargs: dict[str, Any]
    exclude: Collection[str]
    activations: tuple[type[nn.Module], ...]
    neutral: bool
    fixed: bool
    foldable: bool
    left: dict[str, str] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    untraced: list[str] = field(default_factory=list)

    def operate(self, root: nn.Module, example_inputs: tuple[Any, ...] | None, prefix: str = "") -> nn.Module:
        """Gate ``root`` in place, or return the graph module that replaces it."""
        if not prefix:
            self._transformers(root)
        if is_opaque(root):
            return self._neutralized(root, prefix, example_inputs)
        try:
            graph, branches = trace_path(root, self.activations, example_inputs, turns=())
            graphs = [graph, *other_graphs(root, self.activations)]
            flow = Flow(root, graphs, Ranks(root, graphs), activations=self.activations)
            wanted = list(self._wanted(places(flow), prefix))
            gated, wanted = self._receiver(root, graph, wanted, prefix, example_inputs, branches=bool(branches))
        except TraceError as error:
            self.untraced.append(f"{prefix}{error}. Only its children were gated, each up to its last linear map")
            for name, child in separate_children(root):
                if any(True for _ in child.children()):
                    root._modules[name] = self.operate(child, None, f"{prefix}{name}.")
            return root
        for place in wanted:
            self._insert(gated, place)
        if isinstance(gated, fx.GraphModule):
            gated.recompile()
        return self._neutralized(gated, prefix, example_inputs)

    def _transformers(self, root: nn.Module) -> None:
        for name, layer in list(transformer_layers(root)):
            if why := why_not_gated(layer):
                self.untraced.append(f"{name!r} got no gate: {why}")
                continue
            self.found.add(name)
            if name not in self.exclude:
                gate_transformer(layer, self.gate_kwargs)

    def _receiver(
        self, root: nn.Module, graph: fx.Graph, wanted: list[Place], prefix: str, example: Any, *, branches: bool
    ) -> tuple[nn.Module, list[Place]]:
        """The module that the gates go into, and those of the places that it has."""
        in_place = [place for place in wanted if place.in_place]
        if len(in_place) == len(wanted):
            return root, wanted
        try:
            if branches:
                raise TraceError(f"{type(root).__name__}.forward branches on values")
            made = as_graph_module(copy_of(root), graph, self.activations, fixed=self.fixed)
            if example is not None and (differs := difference(root, made, lambda m: m(*example))):
                raise TraceError(f"{type(root).__name__}.forward as a graph is another function: {differs}")
            return made, wanted
        except TraceError as error:
            if not in_place:
                raise
            left = [prefix + place.name for place in wanted if not place.in_place]
            self.untraced.append(f"{prefix}{error}: {left} (functions, or modules called several times) got no gate")
            return root, in_place

    def _wanted(self, found: Iterator[Place], prefix: str) -> Iterator[Place]:
        """The places that are not excluded, all of known size."""
        unknown: list[str] = []
        for place in found:
            name = prefix + place.name
            self.found.add(name)
            if place.units is not None and name not in self.exclude:
                yield place
            elif name not in self.exclude:
                unknown.append(name)
        if unknown and not self.foldable:
            raise ValueError(
                f"cannot tell the number of units behind {', '.join(map(repr, unknown))}: pass example_inputs, or "
                f"leave it ungated with exclude={tuple(unknown)!r}"
            )
        self.left |= dict.fromkeys(unknown, "the number of its units is unknown")

    def _insert(self, root: nn.Module, place: Place) -> None:
        activation = root.get_submodule(place.name) if place.in_place else nn.Identity().train(root.training)
        assert place.units is not None
        gate = make_gate(place.units, activation, **self.gate_kwargs)
        if place.in_place:
            root.set_submodule(place.name, gate)
            return
        assert isinstance(root, fx.GraphModule)
        root.add_submodule(place.name, gate)
        with root.graph.inserting_after(place.node):
            call = root.graph.call_module(place.name, (place.node,))
        place.node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)

    def _neutralized(self, gated: nn.Module, prefix: str, example_inputs: tuple[Any, ...] | None) -> nn.Module:
        """``gated``, whose weights are divided by its gates where that is wanted and they are not 1."""
        one = make_gate(Units(1, 0, torch.ones(1)), nn.Identity(), **self.gate_kwargs)
        if not self.neutral or not any(named_gates(gated)) or one.gate().eq(1).all():
            return gated
        try:
            absorb_in(gated, entry_methods(gated), example_inputs, fixed=self.fixed, inverse=True)
            return gated
        except FoldError as error:
            hint = f"gates {[prefix + n for n, _ in named_gates(gated)]} that start at 1 (gate_max=2.0, k_init=None)"
            raise FoldError(f"no neutral {error}. Nothing has to be divided with {hint}") from None


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
