"""What a block of a random network may do to its values besides: branches, skips, shared layers, other shapes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tests.nb_agents.surgery.random_builder import BATCH, Builder, Net
from tests.nb_agents.surgery.random_parts import add_part


def _branches(b: Builder) -> None:
    n, dense = b.shape[-1], len(b.shape) < 4
    axis = b.random.choice((-1, 1, len(b.shape) - 1, 0)) if dense else b.random.choice((1, -3, -1, 2))
    made = (lambda: nn.Linear(n, 6)) if dense else (lambda: nn.Conv2d(b.shape[1], 6, 3, padding=1))
    one, two, act, bct = (f"l{len(b.layers) + i}" for i in range(4))
    b.layers |= {one: made(), two: made(), act: nn.ReLU(), bct: b.random.choice((nn.ReLU, nn.Tanh))()}
    how = b.random.choice(("cat", "cat", "add", "mul", "raw"))
    if axis == 0 and how in ("cat", "raw"):
        how = "add"

    def step(net: Net, x: torch.Tensor) -> torch.Tensor:
        p, q = net.layers[act](net.layers[one](x)), net.layers[bct](net.layers[two](x))
        if how == "add":
            return p + q
        return p * q if how == "mul" else torch.cat([p, x if how == "raw" else q], dim=axis)

    b._step(step)


def _residual(b: Builder) -> None:
    dense = len(b.shape) < 4
    name = f"l{len(b.layers)}"
    n = b.shape[-1] if dense else b.shape[1]
    b.layers[name] = nn.Linear(n, n) if dense else nn.Conv2d(n, n, 3, padding=1)
    b._step(lambda net, x: x + net.layers[name](x))


def _shared_layer(b: Builder) -> None:
    fits = [n for n, m in b.layers.items() if type(m) is nn.Linear and m.in_features == b.shape[-1]]
    name = b.random.choice(fits or ["none"])
    if name != "none":
        b._step(lambda net, x: net.layers[name](x))
        b._activation()


def _functional_layer(b: Builder) -> None:
    fits = [n for n, m in b.layers.items() if type(m) is nn.Linear and m.in_features == b.shape[-1]]
    if fits:
        name, scaled = b.random.choice(fits), b.random.random() < 0.5
        b._step(lambda net, x: F.linear(x, net.layers[name].weight * (2 if scaled else 1)))
        b._activation()


def _function(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Builder], None]:
    return lambda b: b._step(lambda net, x: function(x))


def _keep(b: Builder) -> None:
    def step(net: Net, x: torch.Tensor) -> torch.Tensor:
        net.kept = x
        return x

    b._step(step)


def _mode(b: Builder) -> None:
    name = f"l{len(b.layers)}"
    b.layers[name] = nn.Linear(b.shape[-1], 1)
    b._step(lambda net, x: x + net.layers[name](x) if net.training else x)


def _in_pieces(b: Builder) -> None:
    n, name = b.shape[-1], f"l{len(b.layers)}"
    b.layers[name] = nn.Sequential(nn.Linear(n, 6), nn.ReLU(), nn.Linear(6, n), nn.Tanh(), nn.Linear(n, 5))
    first = b.random.choice((2, 3))
    b._step(
        lambda net, x: net.layers[name][first:](net.layers[name][:first][:2](x)) if first == 2 else net.layers[name](x)
    )


TWISTS: list[Callable[[Builder], None]] = [
    add_part, add_part, add_part, add_part, add_part, add_part,
    _branches, _branches, _branches, _residual, _residual, _shared_layer, _functional_layer, _keep, _mode, _in_pieces,
    lambda b: b._add(nn.Dropout(0.3)) and None,
    lambda b: b._add(nn.MaxPool2d(2)) and None,
    lambda b: b._add(nn.AvgPool1d(3, 1, 1)) and None,
    lambda b: b._add(nn.Softmax(-1)) and None,
    _function(lambda x: x.flatten(1)),
    _function(lambda x: x.view(x.size(0), -1)),
    _function(lambda x: x.reshape(-1, x.shape[-1])),
    _function(lambda x: x.view(x.size(0) * x.size(1), -1)),
    _function(lambda x: x.flatten(0, 1)),
    _function(lambda x: x.view(BATCH, -1, 2)),
    _function(lambda x: x.transpose(-1, -2)),
    _function(lambda x: x.mean(dim=1)),
    _function(lambda x: x.mean(dim=(2, 3))),
    _function(lambda x: x.amax(dim=-1, keepdim=True) + x),
    _function(lambda x: x.flip(-1)),
    _function(lambda x: torch.cat(x.chunk(2, dim=1)[::-1], dim=1)),
    _function(lambda x: torch.cat([x, x], dim=1)),
    _function(lambda x: torch.stack([x, 2 * x]).sum(0)),
    _function(lambda x: -2 * x),
    _function(lambda x: torch.div(x, 0.1, rounding_mode="floor")),
    _function(lambda x: (10 * x).to(torch.int64).to(x.dtype)),
    _function(lambda x: x.clamp(-0.5, 0.5)),
    _function(lambda x: x * 0.5 if x.sum() > 1.0 else x),
    _function(lambda x: x + 1),
    _function(lambda x: F.dropout(x, 0.2)),
    _function(lambda x: x * int(x.sum() > 0)),
]  # fmt: skip
"""What a block may do to its values besides."""
