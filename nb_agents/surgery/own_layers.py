"""Linear layers with a ``forward`` of the user's own: convolutions that pad first, weights that are standardised first.

`torch.fx` cannot follow many of them (a padding that is computed from the input's size), and no graph says whether the
weight is used as it is. So the layer itself is asked: a copy with random numbers is run, in both modes and with each of
its switches at either value, and what its weight scales is compared with what scales its input and output.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import fx, nn

from nb_agents.gates.gate import CONVOLUTIONS
from nb_agents.surgery.copies import copy_of, kept_values
from nb_agents.surgery.weights import TRANSPOSED, into, sizes_of

_OF_EVERY_MODULE = vars(nn.Module()).keys()
_TOLERANCE = 1e-9
"""Of double precision, over the largest value."""


class Answer(NamedTuple):
    """What a layer's numbers do, as far as it was seen.

    Attributes:
        keeps_units: Whether its output has as many dimensions as its input, and its units where torch's class has them.
        inputs: Whether a factor on an input is one on a column of its weight.
        outputs: Whether a factor on a unit is one on a row of its weight and a number of its bias.
    """

    keeps_units: bool = False
    inputs: bool = False
    outputs: bool = False


def is_own_layer(module: nn.Module) -> bool:
    """Whether ``module`` is of a class of the user's that extends one of torch's linear layers."""
    is_torch = type(module).__module__.startswith("torch.") or any(True for _ in module.children())
    return isinstance(module, (nn.Linear, *CONVOLUTIONS)) and not is_torch


def settings_of(module: nn.Module) -> frozenset[str]:
    """Names of the attributes by which torch's linear layers know their form, which no one changes later."""
    layer = isinstance(module, (nn.Linear, *CONVOLUTIONS))
    return frozenset(getattr(type(module), "__constants__", ())) if layer else frozenset()


_KNOWN: WeakKeyDictionary[type, dict[Any, Answer]] = WeakKeyDictionary()


def ask(node: fx.Node, layer: nn.Module) -> Answer:
    """`answer` about the layer that a node calls; once for all layers of a class with the same attributes."""
    found: Answer | None = node.meta.get("answer")
    if found is None:
        key, known = _form_of(layer), _KNOWN.setdefault(type(layer), {})
        node.meta["answer"] = found = known[key] if key in known else answer(layer)
        if key is not None:
            known[key] = found
    return found


def _form_of(layer: nn.Module) -> Any:
    """All that tells the layer from others of its class but its numbers; None where that is more than plain values."""
    own = {name: value for name, value in vars(layer).items() if name not in _OF_EVERY_MODULE}
    plain = all(isinstance(value, (int, float, str, tuple, list, type(None))) for value in own.values())
    if not plain or layer._buffers or layer._parameters.keys() - {"weight", "bias"}:
        return None
    return type(layer).forward, repr(sorted(own.items())), layer._parameters.get("bias") is None


@torch.no_grad()
def answer(layer: nn.Module) -> Answer:
    """Run copies of ``layer`` on random inputs; what fails is answered with False."""
    found: list[Answer] = []
    twin = copy_of(layer)
    with torch.random.fork_rng(devices=[]), suppress(Exception):
        torch.manual_seed(0)
        twin.double().cpu()
        for parameter in twin.parameters():
            parameter.normal_()
        for each in _settings(twin):
            for size in (3, 4):
                x = torch.randn(_shape(each, size), dtype=torch.float64)
                try:
                    found.append(_compare(each, x))
                except RuntimeError:  # a switch that does not fit this layer fails for the user as well
                    if each is twin:
                        raise
        return Answer(*(all(values) for values in zip(*found, strict=True)))
    return Answer()


def _settings(layer: nn.Module) -> Iterator[nn.Module]:
    """The layer in both modes, and copies of it with each switch of its own at the other value."""
    for mode in (True, False):
        yield layer.train(mode)
        for name, value in list(vars(layer).items()):
            if isinstance(value, bool) and name != "training" and not name.startswith("_"):
                flipped = copy_of(layer)
                setattr(flipped, name, not value)
                yield flipped


def _shape(layer: nn.Module, size: int) -> tuple[int, ...]:
    _, _, dims, n_inputs, _ = sizes_of(layer)
    if not dims:
        return size, n_inputs
    kernels = zip(layer.kernel_size, layer.dilation, strict=True)  # type: ignore[arg-type]
    return (2, n_inputs, *(size + dilation * (kernel - 1) for kernel, dilation in kernels))


def _compare(layer: nn.Module, x: torch.Tensor) -> Answer:
    _, groups, dims, n_inputs, n_units = sizes_of(layer)
    factor, scale = torch.randn(n_inputs).to(x), torch.randn(n_units).to(x)
    of_units = scale[(..., *(None,) * dims)]
    kept = kept_values(layer, torch.Tensor).keys()
    y = _run(layer, x)
    if kept_values(layer, torch.Tensor).keys() != kept:
        raise ValueError("the layer keeps values, which a gate would change")
    if y.dim() != x.dim() or y.shape[-1 - dims] != n_units:
        return Answer()
    columns, rows = copy_of(layer), copy_of(layer)
    into(sizes_of(columns)[0], groups, transposed=isinstance(layer, TRANSPOSED))(factor)
    scale_rows(rows, scale)
    inputs = _same(_run(columns, x), _run(layer, x * factor[(..., *(None,) * dims)]))
    return Answer(True, inputs, _same(_run(rows, x), y * of_units))


def scale_rows(layer: nn.Module, factor: torch.Tensor) -> None:
    """Multiply what a layer puts out by ``factor``, shape ``(n_units,)``, through its own weight and bias."""
    weight = layer.get_parameter("weight")
    if isinstance(layer, TRANSPOSED):  # its outputs lie where another layer's inputs do
        into(weight, layer.groups)(factor)
    else:
        weight.mul_(factor.reshape(-1, *(1,) * (weight.dim() - 1)))
    if layer._parameters.get("bias") is not None:
        layer.get_parameter("bias").mul_(factor)


def _run(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    y: torch.Tensor = layer(x.clone())
    return y


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= _TOLERANCE * b.abs().max())
