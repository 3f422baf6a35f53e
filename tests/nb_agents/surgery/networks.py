"""Small networks in plain torch: what a user may write between two layers, and what is compared of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nb_agents.gates.gate import named_gates


class Functional(nn.Module):
    """Activations as functions, a functional dropout, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(14, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(x))
        z = F.dropout(torch.tanh(self.second(h)), 0.5, training=self.training)
        return torch.tanh(self.out(torch.cat([h, z], -1)))


class Block(nn.Module):
    """A residual block as torchvision builds it: one ReLU, called twice."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Conv2d(n_in, n_out, 1, stride) if n_in != n_out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Residual(nn.Module):
    """A small ResNet; only the gate between its blocks has a skip around the next linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.layers = nn.Sequential(Block(8, 12, 2), Block(12, 12))
        self.pool, self.head = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.layers(self.stem(x))), 1))


class Branching(nn.Module):
    """Control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(-h if h.sum() > 0 else h)


class Untraceable(Branching):
    """The same in a way that `torch.fx` cannot follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(-h if float(h.sum()) > 1e9 else h)


class Reshaping(nn.Module):
    """Reshapes and pools by hand, in the ways of many tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.grouped = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=4)
        self.flat, self.pooled, self.out = nn.Linear(8 * 8 * 8, 7), nn.Linear(8, 7), nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.max_pool2d(F.relu(self.grouped(0.5 * F.relu(self.conv(x)))), 2)
        a, b = self.flat(h.view(x.size(0), -1)), self.pooled(h.mean(dim=(2, 3)))
        return self.out(F.silu(a + b))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 10), nn.Tanh(), nn.Dropout(0.1), nn.Linear(10, 7), nn.LayerNorm(7), nn.PReLU(), nn.Linear(7, 2),
        nn.Tanh(),
    )  # fmt: skip


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=4), nn.ELU(),
        nn.ConvTranspose2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9 * 9, 9), nn.GELU(), nn.Linear(9, 2),
    )  # fmt: skip


def one_activation_in_two_places() -> nn.Module:
    activation = nn.ReLU()
    return nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 8), activation, nn.Linear(8, 1))


def normalized_behind() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2))


VECTOR, IMAGE = (5, 4), (5, 3, 20, 20)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (mlp, VECTOR, 2),
    "cnn": (cnn, IMAGE, 4),
    "shared activation": (one_activation_in_two_places, VECTOR, 2),
    "normalized behind": (normalized_behind, VECTOR, 1),
    "functional": (Functional, VECTOR, 2),
    "reshaping": (Reshaping, IMAGE, 3),
    "residual": (Residual, IMAGE, 5),
}
SKIPPED = "layers_0_relu_1_gate"


def shuffle_ks(network: nn.Module) -> None:
    with torch.no_grad():
        for _, gate in named_gates(network):
            gate.k.normal_()


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 2e-6 * b.abs().max())
