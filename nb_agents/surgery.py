"""Gates into any torch module."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from nb_agents.flow import Flow
from nb_agents.gates import ACTIVATIONS, KGate, check_gate_arguments, is_normalization, named_gates
from nb_agents.tracing import TraceError, in_mode, is_activation, is_linear, separate_children, trace, walk
from nb_agents.validation import check_flag
from nb_agents.weights import FoldError

K_INIT = 0.25
"""Start value of every k, as published."""


def insert_gates(
    module: nn.Module,
    block_size: int | None = 16,
    neutral: bool = False,
    block_weight: float = 0.3,
    k_init: float | None = None,
    *,
    exclude: Collection[str] = (),
    activations: tuple[type[nn.Module], ...] = (),
    example_inputs: tuple[Any, ...] | None = None,
) -> nn.Module:
    """A copy of ``module`` with a gate behind every hidden activation, that is, one with a linear map behind it.

    Activations are found by tracing ``forward`` with `torch.fx`. Where each is a module that is called once, a `KGate`
    takes its place and the module keeps its class and the names in its state dict. Where some are functions, or modules
    called several times, the copy is a `torch.fx.GraphModule` with the same submodules. A forward that cannot be traced
    keeps its class, its children are gated each for itself, and a warning names what that leaves out. Where a
    normalization follows the activation the gate goes behind it, as the normalization would undo it.

    Args:
        module: Any network without gates: linear layers, convolutions (gated per channel), residual blocks.
        block_size: Units per block gate; None for layer gates alone.
        neutral: Divide the weights behind every gate by it, so that the copy computes what ``module`` does: the same to
            the last bit (barring subnormal numbers) with the default ``k_init``, up to rounding with others.
        block_weight: Weight of a block's gate beside the layer's, >= 0.
        k_init: Start value of every k; None for 0.25 or, if ``neutral``, for k's at which every gate is exactly 0.5.
        exclude: Gates to leave out, by the names that `named_gates` and error messages give them.
        activations: Classes of activation modules besides torch's own.
        example_inputs: Arguments of ``forward``; needed only where sizes do not follow from the layers alone.

    Raises:
        TypeError: If ``module`` is no `nn.Module` or an argument is not of its kind.
        ValueError: If the module has gates already or no hidden activation, a number is out of its range, ``exclude``
            names no gate, or the units of an activation cannot be told.
        FoldError: If ``neutral`` and the values behind a gate reach more than linear maps (a residual skip).
    """
    check_module(module)
    check_gate_arguments(block_size, block_weight, K_INIT if k_init is None else k_init)
    check_flag("neutral", neutral)
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a collection of names, got {exclude!r}")
    if not all(isinstance(each, type) and issubclass(each, nn.Module) for each in activations):
        raise TypeError(f"activations must be classes of modules, got {activations!r}")
    if any(named_gates(module)):
        raise ValueError(f"module must be without gates, but has {[name for name, _ in named_gates(module)]}")
    gate_kwargs = {"block_size": block_size, "block_weight": block_weight, "k_init": k_init}
    surgeon = _Surgeon(gate_kwargs, exclude, activations, neutral)
    gated = surgeon.operate(_with_own_activations(copy.deepcopy(module), activations), example_inputs)
    unknown = sorted(set(exclude) - surgeon.found)
    if unknown:
        raise ValueError(f"exclude must name gates among {sorted(surgeon.found)}, got {unknown}")
    if not any(named_gates(gated)):
        reason = "; ".join(surgeon.untraced) or "no activation with a linear map before and behind it was found"
        raise ValueError(f"{type(module).__name__} has no hidden activation to gate: {reason}")
    for message in surgeon.untraced:
        warnings.warn(f"{message}. Only its children were gated, each up to its last linear map", stacklevel=2)
    return gated


@torch.no_grad()
def set_neutral(gate: KGate) -> None:
    """Set the k's so that every unit's gate is 0.5, exactly so in floating point where such k's are found."""
    w = float(gate.membership[0, 1:].sum())  # the one block that the first unit belongs to
    share = 0.5 / (1 + w)
    gate.k.fill_(0.0 if w == 0 else torch.tensor(share, dtype=torch.float64).logit().item())
    for _ in range(8):  # Newton's method on the blocks' k; far finer than the gate's own rounding, it lands on 0.5
        error = gate.gate().flatten() - 0.5
        worst = error[error.abs().argmax()]
        if w == 0 or worst == 0:
            return
        gate.k[1:] -= worst / (w * share * (1 - share))


class _Place(NamedTuple):
    """A gate to be: behind ``node``, whose module it wraps if ``in_place``."""

    name: str
    node: fx.Node
    n_units: int
    spatial_dims: int
    in_place: bool


class _Surgeon:
    """One `insert_gates`; remembers what it found while it walks down an untraceable module's children."""

    def __init__(
        self,
        gate_kwargs: dict[str, Any],
        exclude: Collection[str],
        activations: tuple[type[nn.Module], ...],
        neutral: bool,
    ) -> None:
        self.exact = neutral and gate_kwargs["k_init"] is None
        self.gate_kwargs = gate_kwargs | ({"k_init": K_INIT} if gate_kwargs["k_init"] is None else {})
        self.exclude = exclude
        self.activations = activations
        self.neutral = neutral
        self.found: set[str] = set()
        self.untraced: list[str] = []

    def operate(self, root: nn.Module, example_inputs: tuple[Any, ...] | None, prefix: str = "") -> nn.Module:
        """Gate ``root`` in place, or return the graph module that replaces it."""
        try:
            graph = trace(root, self.activations, example_inputs)
            places = list(self._places(Flow(root, graph, self.activations), prefix))
            self.found |= {prefix + place.name for place in places}
            gated = root if all(place.in_place for place in places) else _as_graph_module(root, graph, self.activations)
        except TraceError as error:
            self.untraced.append(f"{prefix}{error}" if prefix else str(error))
            for name, child in separate_children(root):
                if any(True for _ in child.children()):
                    root._modules[name] = self.operate(child, None, f"{prefix}{name}.")
            return root
        for place in places:
            self._insert(gated, place)
        if isinstance(gated, fx.GraphModule):
            gated.recompile()
        if self.neutral and places:
            self._neutralize(gated, prefix, example_inputs)
        return gated

    def _places(self, flow: Flow, prefix: str) -> Iterator[_Place]:
        modules = dict(flow.root.named_modules())
        calls = [node.target for node in flow.graph.nodes if node.op == "call_module"]
        for node in flow.graph.nodes:
            if not is_activation(node, modules, self.activations):
                continue
            if not any(is_linear(n, modules) for n in walk(node, lambda n: n.users)):
                continue  # it squashes the output
            if not any(is_linear(n, modules) for n in walk(node, lambda n: n.all_input_nodes)):
                continue  # it squashes the input, there is no layer to gate
            layout = flow.layouts[node]
            users = list(node.users)
            module = modules.get(str(users[0].target)) if len(users) == 1 else None
            if module is not None and is_normalization(module):
                node = users[0]
            once = node.op == "call_module" and calls.count(node.target) == 1
            name = str(node.target) if once else _free_name(flow.root, f"{node.name}_gate")
            if prefix + name in self.exclude:
                self.found.add(prefix + name)
            elif layout is None or layout.width is None:
                raise ValueError(
                    f"cannot tell the number of units behind {prefix + name!r}: pass example_inputs, or leave it "
                    f"ungated with exclude=({prefix + name!r},)"
                )
            else:
                yield _Place(name, node, layout.width, -1 - layout.axis, once)

    def _insert(self, root: nn.Module, place: _Place) -> None:
        activation = root.get_submodule(place.name) if place.in_place else None
        gate = KGate(place.n_units, spatial_dims=place.spatial_dims, activation=activation, **self.gate_kwargs)
        parameter = next(root.parameters())
        gate.to(device=parameter.device, dtype=parameter.dtype)
        gate.train(root.training if activation is None else activation.training)
        if place.in_place:
            root.set_submodule(place.name, gate)
            return
        assert isinstance(root, fx.GraphModule)
        root.add_submodule(place.name, gate)
        with root.graph.inserting_after(place.node):
            call = root.graph.call_module(place.name, (place.node,))
        place.node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)

    def _neutralize(self, gated: nn.Module, prefix: str, example_inputs: tuple[Any, ...] | None) -> None:
        gates = dict(named_gates(gated))
        if self.exact:
            for gate in gates.values():
                set_neutral(gate)
        flow = Flow(gated, trace(gated, self.activations, example_inputs), self.activations)
        try:
            flow.absorb(gates, inverse=True)
        except FoldError as error:
            names = tuple(prefix + name for name in flow.blocked)
            raise FoldError(f"no neutral {error}. To leave these ungated pass exclude={names}") from None


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


def _free_name(root: nn.Module, name: str) -> str:
    while hasattr(root, name):
        name += "_"
    return name


def _as_graph_module(root: nn.Module, graph: fx.Graph, leaves: tuple[type[nn.Module], ...]) -> fx.GraphModule:
    """``graph`` as a module that still follows ``train()`` and ``eval()``.

    Raises:
        TraceError: If ``forward`` asks which mode it is in for more than a functional dropout.
    """
    # Tracing wrote the value of `training` into the graph; where the other mode's differs, a module must ask anew.
    with in_mode(root, training=not root.training):
        other = trace(root, leaves)
    for number, (here, there) in enumerate(itertools.zip_longest(graph.nodes, other.nodes)):
        if None not in (here, there) and _call(here) == _call(there):
            continue
        if None in (here, there) or not here.target is there.target is nn.functional.dropout:
            raise TraceError(f"{type(root).__name__}.forward does something else in train() than in eval() mode")
        p = here.args[1] if len(here.args) > 1 else here.kwargs.get("p", 0.5)
        root.add_module(f"dropout_{number}", nn.Dropout(float(p)).train(root.training))
        here.op, here.target, here.args, here.kwargs = "call_module", f"dropout_{number}", here.args[:1], {}
    return fx.GraphModule(root, graph, type(root).__name__)


def _call(node: fx.Node) -> tuple[str, str, str, str]:
    return node.op, str(node.target), str(node.args), str(node.kwargs)
