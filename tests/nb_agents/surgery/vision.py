"""Small networks in plain torch, built as torchvision's and timm's are."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class SameConv(nn.Conv2d):
    """TensorFlow's padding: how much depends on the input's size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for size, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            whole = max((-(-int(size) // s) - 1) * s + k - int(size), 0)
            pads += [whole // 2, whole - whole // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation, which undoes a factor on a whole row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        weight = weight / (weight.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Switched(nn.Linear):
    """A layer that is linear for as long as a switch of its own is off."""

    squares = False

    def __init__(self, n: int, m: int) -> None:
        super().__init__(n, m)
        self.squares = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x * x if self.squares else x, self.weight, self.bias)


class Keeping(nn.Linear):
    """A layer that keeps what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return F.linear(x, self.weight, self.bias)


class NormAct(nn.BatchNorm2d):
    """A normalization with its activation inside, as timm has them."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(super().forward(x))


class SqueezeExcite(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2, self.gate = nn.Conv2d(n, 4, 1), nn.SiLU(), nn.Conv2d(4, n, 1), nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True)))))


class InvertedResidual(nn.Module):
    def __init__(self, n: int, m: int, stride: int = 1) -> None:
        super().__init__()
        self.skips = stride == 1 and n == m
        self.expand = nn.Sequential(nn.Conv2d(n, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depth = nn.Sequential(SameConv(8, 8, 3, stride, groups=8, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.excite, self.project = SqueezeExcite(8), nn.Sequential(nn.Conv2d(8, m, 1, bias=False), nn.BatchNorm2d(m))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.excite(self.depth(self.expand(x))))
        return x + y if self.skips else y


class ConvNeXtBlock(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.depth, self.norm = nn.Conv2d(n, n, 3, padding=1, groups=n), nn.LayerNorm(n)
        self.up, self.act, self.down = nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n)
        self.scale = nn.Parameter(torch.full((n,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(self.act(self.up(h)))).permute(0, 3, 1, 2)


class DenseLayer(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.norm1, self.relu1, self.conv1 = nn.BatchNorm2d(n), nn.ReLU(), nn.Conv2d(n, 6, 1, bias=False)
        self.norm2, self.relu2, self.conv2 = nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.norm2(y)))], 1)


class BasicBlock(nn.Module):
    """One ReLU in two places, the second behind the skip, as torchvision has it."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n)
        self.conv2, self.bn2 = nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner, self.up = (nn.Conv2d(n, m, 3, padding=1) for n, m in ((3, 6), (6, 8), (14, 5)))
        self.out = nn.Conv2d(5, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.silu(self.down(x))
        low = F.relu(self.inner(F.max_pool2d(skip, 2)))
        return self.out(F.gelu(self.up(torch.cat([F.interpolate(low, scale_factor=2.0), skip], dim=1))))


class ViTBlock(nn.Module):
    """Attention by matrix products, and a feed-forward block, each around a skip."""

    def __init__(self, n: int = 8) -> None:
        super().__init__()
        self.norm1, self.qkv, self.mix = nn.LayerNorm(n), nn.Linear(n, 3 * n), nn.Linear(n, n)
        self.norm2, self.fc1, self.act, self.fc2 = nn.LayerNorm(n), nn.Linear(n, 16), nn.GELU(), nn.Linear(16, n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        x = x + self.mix((q @ k.transpose(-2, -1)).softmax(dim=-1) @ v)
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


def encoder(activation: str = "gelu") -> nn.TransformerEncoder:
    """Two of torch's own layers."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def head(n: int) -> list[nn.Module]:
    """Pooling and a classifier."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, 3)]
