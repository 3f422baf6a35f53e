"""A network as the graph that `torch.fx` traces, and what its nodes are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import fx, nn

from nb_agents._objects import Extension
from nb_agents.gates.gate import ACTIVATIONS, KGate, is_normalization
from nb_agents.policies.train_only import in_eval_mode
from nb_agents.surgery.copies import copy_of, kept_values
from nb_agents.surgery.own_layers import is_own_layer

Modules = dict[str, nn.Module]
Leaves = tuple[type[nn.Module], ...]

# fmt: off
ACTIVATION_FUNCTIONS = frozenset((
    "celu", "celu_", "elu", "elu_", "gelu", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "leaky_relu",
    "leaky_relu_", "logsigmoid", "mish", "prelu", "relu", "relu6", "relu_", "rrelu", "rrelu_", "selu", "selu_",
    "sigmoid", "sigmoid_", "silu", "softplus", "softsign", "tanh", "tanh_", "tanhshrink",
))
"""`gates.ACTIVATIONS` as functions and methods, by name."""

COMMUTING_FUNCTIONS = frozenset((
    "relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "interpolate", "contiguous", "clone", "detach", "float", "double", "to",
))
COMMUTING_MODULES: Leaves = (
    nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Upsample,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)
"""Operations that commute with a positive factor per unit, where they do not mix units: see `mixed_dims`."""

SUMS = frozenset(("add", "add_", "iadd", "sub", "sub_", "isub"))
PRODUCTS = frozenset(("mul", "mul_", "imul"))
ARITHMETIC = SUMS | PRODUCTS | frozenset(("div", "div_", "truediv", "itruediv"))

_LINEAR_FUNCTIONS = frozenset((
    "linear", "bilinear", "matmul", "addmm", "bmm", "einsum", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d",
))
# fmt: on


class TraceError(ValueError):
    """A ``forward`` that `torch.fx` cannot follow."""


class ScaleSink(nn.Module):
    """Hands its input on, and marks that something besides layers reads it, which can take up a factor by itself.

    Args:
        absorb: Function of a factor, shape ``(n_units,)``, that makes what reads the input act as if that came
            multiplied by it.
    """

    def __init__(self, absorb: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.absorb = absorb

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``."""
        return x


class _Tracer(fx.Tracer):
    """Follows one method; where the code branches on values it takes the given turns, and then the False ones."""

    proxy_buffer_attributes = True  # a branch on a buffer is one on a value

    def __init__(self, leaves: Leaves, method: str, turns: tuple[bool, ...] | None) -> None:
        super().__init__()
        self.leaves = (KGate, ScaleSink, *leaves)
        self.traced_func_name = method
        self.turns, self.taken = turns, list[bool]()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_leaf = isinstance(m, self.leaves) or is_normalization(m) or is_own_layer(m)
        return is_leaf or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if isinstance(m, nn.Sequential) and not any(m is part for part in self.root.modules()):
            return forward(*args, **kwargs)  # a slice of another one, made on the fly
        return super().call_module(m, forward, args, kwargs)

    def to_bool(self, obj: fx.Proxy) -> bool:
        if self.turns is None:
            return super().to_bool(obj)
        position = len(self.taken)
        self.taken.append(self.turns[position] if position < len(self.turns) else False)
        return self.taken[-1]


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes of its values."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if torch.is_tensor(value):
            n.meta["shape"] = value.shape
        return value


def trace_path(
    root: nn.Module,
    leaves: Leaves = (),
    example_inputs: tuple[Any, ...] | None = None,
    *,
    method: str = "forward",
    left_out: Mapping[str, Any] | None = None,
    turns: tuple[bool, ...] | None = None,
) -> tuple[fx.Graph, tuple[bool, ...]]:
    """The graph of a method of ``root``; torch's own layers, normalizations, gates and ``leaves`` are its nodes.

    Args:
        root: Any module, of which a copy is traced.
        leaves: Further classes of modules not to look into.
        example_inputs: Inputs by which the shape of every node's value is noted, see `shape_of`.
        method: Name of the method.
        left_out: Arguments that are not passed, with their defaults.
        turns: Turns to take where the code branches on values, followed by False ones; None to refuse such code.

    Returns:
        The graph, and the turns that were taken.

    Raises:
        TraceError: If `torch.fx` cannot follow the code.
    """
    tracer, what = _Tracer(leaves, method, turns), f"{type(root).__name__}.{method}"
    twin = copy_of(root)
    for parameter in twin.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    if hooked := [name or what for name, m in twin.named_modules() if has_hooks(m) and not _is_leaf(tracer, m, name)]:
        raise TraceError(f"{what} is not all there is: {hooked[0]!r} has forward hooks or a forward of its own")
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            graph = tracer.trace(twin, dict(left_out or {}) or None)
    except Exception as error:  # fx runs the user's code on proxies, which may fail in any way
        raise TraceError(f"torch.fx cannot trace {what}: {error}") from error
    own = {id(value) for value in kept_values(root, torch.Tensor)}
    for node in graph.nodes:
        value = getattr(twin, node.target) if node.op == "get_attr" and "tensor_constant" in str(node.target) else None
        if value is not None and value.requires_grad and id(value) not in own:
            raise TraceError(f"{what} computes with parameters in a way that torch.fx does not see")
    for name, proxy in kept_values(twin, fx.Proxy).values():
        proxy.node.meta["kept"] = name
    if example_inputs is not None:
        # On a path that the example does not take the shapes stay unknown.
        with suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
            _Shapes(fx.GraphModule(copy_of(root).eval(), graph)).run(*example_inputs)
    return graph, tuple(tracer.taken)


class _Recorder(Extension):
    """Notes in its ``names_read`` which switches are read: attributes of its own that are True, False or a text."""

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if isinstance(value, (bool, str)) and not name.startswith("__") and name not in _OF_EVERY_MODULE:
            object.__getattribute__(self, "names_read").add(name)
        return value


_OF_EVERY_MODULE = {*vars(nn.Module()), *dir(nn.Module)}


def flags_read(root: nn.Module, leaves: Leaves = ()) -> list[str]:
    """Switches that tracing ``root`` reads: attributes, other than the mode, that are True, False or a text."""
    twin, tracer, found = copy_of(root), _Tracer(leaves, "forward", None), set[str]()
    recorders: dict[nn.Module | None, nn.Module] = {}
    for name, module in twin.named_modules():
        if not _is_leaf(tracer, module, name) and not type(module).__module__.startswith("torch."):
            vars(module)["names_read"] = found
            recorders[module] = _Recorder.of(module)
    for module in list(twin.modules()):
        module._modules.update({name: recorders.get(part, part) for name, part in module._modules.items()})
    with torch.random.fork_rng(devices=[]):
        tracer.trace(recorders.get(twin, twin))
    return sorted(found)


def opened_modules(root: nn.Module) -> Iterator[nn.Module]:
    """``root`` and those of its parts that tracing looks into."""
    tracer = _Tracer((), "forward", None)
    return (module for name, module in root.named_modules() if not _is_leaf(tracer, module, name))


def attribute_of(root: nn.Module, path: str) -> Any:
    """The attribute that a dotted path leads to."""
    owner, _, name = path.rpartition(".")
    return getattr(root.get_submodule(owner), name, None)


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of ``module`` does more, or something else, than its class's ``forward``."""
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    # Those that compute a weight (old-style normalizations, pruning) and ours that hold statistics act on no value.
    harmless = (h for h in hooks if type(h).__module__.startswith("torch.nn.utils") or h is in_eval_mode)
    return len(hooks) > len(list(harmless)) or "forward" in vars(module)


def _is_leaf(tracer: _Tracer, module: nn.Module, name: str) -> bool:
    return bool(name) and tracer.is_leaf_module(module, name)


@contextmanager
def in_mode(root: nn.Module, *, training: bool | None) -> Iterator[None]:
    """``root`` in training or evaluation mode (None: as it is), and every part of it back in its own afterwards."""
    before = [(module, module.training) for module in root.modules()]
    if training is not None:
        root.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def separate_children(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of a module that cannot be traced, each to be treated as a network of its own.

    Raises:
        TraceError: If two of them share a parameter, so that what is done to one would be done to the other.
    """
    owner: dict[int, str] = {}
    for name, child in root._modules.items():
        for parameter in child.parameters() if child is not None else ():
            if owner.setdefault(id(parameter), name) != name:
                raise TraceError(f"its children {owner[id(parameter)]!r} and {name!r} share parameters")
    yield from root.named_children()


def shape_of(node: fx.Node) -> torch.Size | None:
    """Shape of the node's value, None if it was traced without an example."""
    return node.meta.get("shape")


def name_of(node: fx.Node) -> str:
    """Name of the function or method that a node calls."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def mixed_dims(name: str) -> int:
    """Least number of trailing dimensions that an operation of `COMMUTING_FUNCTIONS` or `COMMUTING_MODULES` mixes."""
    if "pool" in name.lower():
        return int(name[-2])  # max_pool2d, AvgPool1d
    return 1 if name in ("interpolate", "Upsample") else 0


def operands(node: fx.Node) -> list[fx.Node]:
    """The nodes that a call is given, each as often as it is given."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


def argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    """An argument of a call, given by position or by name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def is_activation(node: fx.Node, modules: Modules, more: Leaves = ()) -> bool:
    """Whether the node is an element-wise activation: a module (torch's, or one of ``more``) or a function."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        # Some normalizations, as timm's, have their activation inside.
        parts = [module, *(module.children() if is_normalization(module) else ())]
        return any(isinstance(part, (*ACTIVATIONS, *more)) for part in parts)
    return node.op in ("call_function", "call_method") and name_of(node) in ACTIVATION_FUNCTIONS


def is_linear(node: fx.Node, modules: Modules) -> bool:
    """Whether the node is a parametrised map that mixes units."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return not is_normalization(module) and any(parameter.dim() > 1 for parameter in module.parameters())
    return node.op == "call_function" and name_of(node) in _LINEAR_FUNCTIONS


def walk(node: fx.Node, neighbours: Callable[[fx.Node], Iterable[fx.Node]]) -> Iterator[fx.Node]:
    """All nodes that can be reached from ``node``, without itself."""
    seen, queue = {node}, [node]
    while queue:
        for other in neighbours(queue.pop()):
            if other not in seen:
                seen.add(other)
                queue.append(other)
                yield other
