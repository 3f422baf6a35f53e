"""Parts of vision networks for the random ones: layers with a forward of their own, products, buffers, transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.nb_agents.surgery import vision as v


class Buffered(nn.Module):
    """A number for each feature in a buffer, which scales or is added; one of them moves in training."""

    def __init__(self, shape: tuple[int, ...], how: str) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("numbers", torch.rand(shape) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.how == "moves":
            self.numbers.mul_(0.9)
        return x + self.numbers if self.how == "adds" else x * self.numbers


class Gated(nn.Module):
    """Values times a function of themselves, as in gated linear units and squeeze-and-excitation."""

    def __init__(self, n: int, act: nn.Module, turned: bool) -> None:
        super().__init__()
        self.layer, self.act, self.turned = nn.Linear(n, n), act, turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.act(self.layer(x))
        return s * x if self.turned else x * s


class InPlace(Gated):
    """The same in place, where the name of the first value then stands for the product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(x)
        y.mul_(self.act(self.layer(x)))
        return y


class MovedAxis(nn.Module):
    """A layer along the channels of a picture, which are moved to the end and back."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.layer, self.act, self.back = nn.Linear(n, 6), nn.Tanh(), nn.Linear(6, n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.back(self.act(self.layer(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


def add_part(b: Any) -> None:
    """Add one that fits the values so far to the builder ``b``."""
    n = b.shape[1] if len(b.shape) == 4 else b.shape[-1]
    dense: list[Callable[[], nn.Module]] = [
        lambda: v.Switched(n, 5),
        lambda: v.Keeping(n, 5),
        lambda: Gated(n, nn.Sigmoid(), b.random.random() < 0.5),
        lambda: InPlace(n, nn.Sigmoid(), False),
    ]
    if len(b.shape) == 3 and n % 2 == 0:
        dense += [lambda: v.ViTBlock(n), lambda: nn.TransformerEncoderLayer(n, 2, 6, batch_first=True, dropout=0.0)] * 2
    pictures: list[Callable[[], nn.Module]] = [
        lambda: v.SameConv(n, 6, 3, b.random.choice((1, 2))),
        lambda: v.SameConv(n, n, 3, groups=n),
        lambda: v.StandardisedConv(n, 6, 3, padding=1),
        lambda: v.SqueezeExcite(n),
        lambda: v.InvertedResidual(n, n),
        lambda: v.DenseLayer(n),
        lambda: MovedAxis(n),
        lambda: v.ConvNeXtBlock(n),
        lambda: v.NormAct(n),
    ]
    shapes = [(n, 1, 1), b.shape[1:]] if len(b.shape) == 4 else [(n,), b.shape[1:]]
    buffers = [lambda: Buffered(b.random.choice(shapes), b.random.choice(("adds", "scales", "moves")))]
    b._add(b.random.choice([*(pictures if len(b.shape) == 4 else dense), *buffers])())
    b._activation()
