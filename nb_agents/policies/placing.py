"""Places of the gates in an SB3 policy: behind the hidden activations of networks that SB3 or the user has built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from nb_agents.gates.gate import ACTIVATIONS, CONVOLUTIONS, KGate, is_normalization

Classes = tuple[type[nn.Module], ...]

# They hand units on one by one, in the order in which they get them.
_UNIT_PRESERVING: Classes = (
    KGate, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.Threshold,
)  # fmt: skip
_POOLING: Classes = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d,
    nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d,
    nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d,
)  # fmt: skip


class Units(NamedTuple):
    """The units of a layer.

    Attributes:
        n: Number of units.
        spatial_dims: Number of dimensions behind theirs.
        weight: A weight of the layer, which has its device and its floating-point type.
    """

    n: int
    spatial_dims: int
    weight: torch.Tensor


def gate_sequential(
    network: nn.Module, *, gate_last: bool, activations: Classes = ACTIVATIONS, **gate_kwargs: Any
) -> None:
    """Put a gate behind the hidden activations of every `nn.Sequential` in ``network``, in place.

    An activation behind a layer whose number of units is not known (a module of the user's without ``out_features``)
    is left alone, and so is one that is gated already.

    Args:
        network: Any module; its `nn.Sequential` parts are walked in order, those inside others with them.
        gate_last: Whether an activation with no linear layer behind it in its Sequential is hidden too (as in a
            features extractor) or the network's output (as the tanh of a deterministic actor).
        activations: Classes of what counts as an activation.
        **gate_kwargs: Class of the gates, ``gate_class``, and its arguments.
    """
    walked: set[int] = set()
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and id(module) not in walked:
            for sequential, name, units in list(_places(module, None, gate_last, activations, walked)):
                put_gate(sequential, name, units, **gate_kwargs)


def gate_called(
    network: nn.Module,
    run: Callable[[], object],
    *,
    apart_from: Callable[[], object] | None = None,
    activations: Classes = ACTIVATIONS,
    **gate_kwargs: Any,
) -> None:
    """Put a gate behind every hidden activation that ``run`` calls once, in place; functions are left alone.

    Args:
        network: Any module.
        run: Function that calls ``network``, or a method of it, on a batch of vectors.
        apart_from: Function that calls another method; activations that serve there behind another layer get no gate.
        activations: Classes of what counts as an activation.
        **gate_kwargs: Class of the gates, ``gate_class``, and its arguments.
    """
    calls = record_calls(network, run)
    feeds = _layers_before(calls)
    elsewhere = _layers_before(record_calls(network, apart_from)) if apart_from is not None else {}
    slots = {id(m): (parent, name) for parent in network.modules() for name, m in parent.named_children()}
    for i, call in enumerate(calls):
        layers = feeds[id(call.module)]
        if len(layers) != 1 or layers[0] is None or elsewhere.get(id(call.module), layers) != layers:
            continue
        behind = calls[i + 1].module if i + 1 < len(calls) and calls[i + 1].input is call.output else None
        if isinstance(behind, KGate) or not isinstance(call.module, activations) or not torch.is_tensor(call.output):
            continue
        target = behind if behind is not None and is_normalization(behind) else call.module
        weight = next(p for p in layers[0].parameters() if p.dim() > 1)
        put_gate(*slots[id(target)], Units(call.output.shape[-1], 0, weight), **gate_kwargs)


def _layers_before(calls: list[Call]) -> dict[int, list[nn.Module | None]]:
    """The last layer that was called before each call of each module, by the module's ``id``."""
    layers: dict[int, list[nn.Module | None]] = {}
    layer: nn.Module | None = None
    for call in calls:
        layers.setdefault(id(call.module), []).append(layer)
        layer = call.module if mixes_units(call.module) else layer
    return layers


class Call(NamedTuple):
    """One call of a module without children."""

    module: nn.Module
    input: Any
    output: Any


def record_calls(network: nn.Module, run: Callable[[], object]) -> list[Call]:
    """The calls of ``network``'s innermost modules in ``run``, which leaves no trace in it."""
    calls: list[Call] = []
    modes = [(module, module.training) for module in network.modules()]
    innermost = [m for m in network.modules() if isinstance(m, KGate) or not any(True for _ in m.children())]
    hooks = [
        m.register_forward_hook(lambda m, args, out: calls.append(Call(m, args[0] if args else None, out)))
        for m in innermost
    ]
    try:
        network.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            run()
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return calls


def put_gate(parent: nn.Module, name: str, units: Units, **gate_kwargs: Any) -> None:
    """Wrap ``parent``'s child in a gate on the device of the layer before it."""
    parent._modules[name] = make_gate(units, parent.get_submodule(name), **gate_kwargs)


def make_gate(units: Units, activation: nn.Module, *, gate_class: type[KGate] = KGate, **gate_kwargs: Any) -> KGate:
    """A gate around ``activation``, its own numbers on the device and in the floating-point type of the weight."""
    gate = gate_class(units.n, spatial_dims=units.spatial_dims, **gate_kwargs)
    gate.to(units.weight.device, units.weight.dtype if units.weight.is_floating_point() else None)
    gate.activation = activation
    return gate.train(activation.training)


def mixes_units(module: nn.Module) -> bool:
    """Whether ``module`` has weights that mix units, which no normalization and no activation has."""
    return not is_normalization(module) and any(nn.parameter.is_lazy(p) or p.dim() > 1 for p in module.parameters())


def units_behind(layer: nn.Module, before: Units | None, activations: Classes = ACTIVATIONS) -> Units | None:
    """The units of what ``layer`` puts out, None if they are not known."""
    if isinstance(layer, CONVOLUTIONS):
        return Units(layer.out_channels, len(layer.kernel_size), layer.weight)
    out_features = getattr(layer, "out_features", None)
    if isinstance(out_features, int):
        weight = next((p for p in layer.parameters() if p.dim() > 1 or p.is_floating_point()), None)
        return None if weight is None else Units(out_features, 0, weight)
    if isinstance(layer, nn.Sequential):
        for child in layer.children():
            before = units_behind(child, before, activations)
        return before
    pools = isinstance(layer, _POOLING) and before is not None
    if pools and before is not None and before.spatial_dims != int(type(layer).__name__[-2]):
        return None
    keeps = isinstance(layer, (*activations, *_UNIT_PRESERVING)) or is_normalization(layer)
    return before if keeps or pools else None


def _places(
    sequential: nn.Sequential, units: Units | None, hidden: bool, activations: Classes, walked: set[int]
) -> Iterator[tuple[nn.Sequential, str, Units]]:
    """The layers that a gate goes around: their Sequential, their name in it, and the units that they hand on."""
    walked.add(id(sequential))
    layers = list(sequential.named_children())
    for i, (name, layer) in enumerate(layers):
        behind = layers[i + 1][1] if i + 1 < len(layers) else None
        followed = hidden or any(mixes_units(other) for _, other in layers[i + 1 :])
        if isinstance(layer, nn.Sequential):
            yield from _places(layer, units, followed, activations, walked)
            units = units_behind(layer, units, activations)
        elif not isinstance(layer, activations):
            units = units_behind(layer, units, activations)
        elif units is not None and followed and not isinstance(behind, KGate):
            yield sequential, layers[i + 1][0] if behind is not None and is_normalization(behind) else name, units
