"""Random networks in plain torch: blocks of layers, normalizations and activations, and what may lie between."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

BATCH, TIME, SIDE = 4, 3, 6
Shape = tuple[int, ...]
Step = Callable[["Net", torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """A list of steps, each a function of the module and the value so far."""

    def __init__(self, steps: list[Step], layers: dict[str, nn.Module], split: int) -> None:
        super().__init__()
        self.layers, self.steps, self.split = nn.ModuleDict(layers), steps, split
        self.kept: Any = None

    def _run(self, x: torch.Tensor, steps: list[Step]) -> torch.Tensor:
        for step in steps:
            x = step(self, x)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x, self.steps)


class WithValue(Net):
    """A second entry method that reads a value in the middle."""

    def value(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers["aux"](self._run(x, self.steps[: self.split]))


class WithOption(Net):
    """An optional argument that leads another way."""

    def forward(self, x: torch.Tensor, task: torch.Tensor | None = None) -> torch.Tensor:
        h = self._run(x, self.steps[: self.split])
        if task is not None:
            h = h + self.layers["aux"](h).mean() * task
        return self._run(h, self.steps[self.split :])


class Builder:
    """Draws the steps of one network, with some of the twists between them."""

    def __init__(self, seed: int, twists: list[Callable[[Builder], None]]) -> None:
        self.twists = twists
        self.random = random.Random(seed)
        self.layers: dict[str, nn.Module] = {}
        self.steps: list[Step] = []
        kinds: list[Shape] = [(BATCH, 5), (BATCH, TIME, 5), (BATCH, 4, SIDE, SIDE)]
        self.input_shape = self.shape = self.random.choice(kinds)

    def build(self) -> tuple[Net, torch.Tensor]:
        """The network and an input."""
        split, aux_shape = 0, self.shape
        for number in range(self.random.randint(2, 4)):
            self._block()
            if number == 1:
                split, aux_shape = len(self.steps), self.shape
        self._add(nn.Flatten() if self.random.random() < 0.7 else Mean(len(self.shape)))
        self._add(nn.Linear(self.shape[-1], 7))
        self._activation()
        self._add(nn.Linear(7, 3))
        kind = self.random.choices((Net, WithValue, WithOption), (6, 2, 2))[0]
        if kind is not Net:
            self.layers["aux"] = nn.Linear(aux_shape[-1], 2)
        net = kind(self.steps, self.layers, split)
        self._hook(net)
        return net, torch.randn(self.input_shape)

    def _add(self, layer: nn.Module) -> str:
        name = f"l{len(self.layers)}"
        self.layers[name] = layer
        self._step(lambda net, x: net.layers[name](x))
        return name

    def _step(self, step: Step) -> None:
        """Add a step, if it can be done."""
        probe = Net([], self.layers, 0).eval()
        with torch.no_grad():
            shape = tuple(step(probe, torch.randn(self.shape)).shape)
        if len(shape) not in (2, 3, 4):
            raise ValueError("neither vectors nor sequences nor images")
        self.steps.append(step)
        self.shape = shape

    def _block(self) -> None:
        if len(self.shape) == 4:
            self._convolution()
        else:
            self._dense()
        if self.random.random() < 0.3:
            self._normalization()
        self._activation()
        if self.random.random() < 0.2:
            self._normalization()
        for _ in range(self.random.choice((0, 0, 1, 1, 2))):
            twist, before = self.random.choice(self.twists), (dict(self.layers), list(self.steps), self.shape)
            try:
                twist(self)
            except (RuntimeError, ValueError, IndexError):
                self.layers, self.steps, self.shape = before  # it does not fit these shapes

    def _dense(self) -> None:
        n, m = self.shape[-1], self.random.choice((4, 6, 8))
        kind = self.random.random() if len(self.shape) == 3 else 1.0
        layer: nn.Module = nn.Linear(n, m, bias=self.random.random() < 0.8)
        if kind < 0.15:
            layer = Recurrent(self.random.choice((nn.GRU, nn.LSTM, nn.RNN))(n, m, batch_first=True))
        elif kind < 0.25:
            layer = Attention(nn.MultiheadAttention(n, 1, batch_first=True))
        elif self.random.random() < 0.08:
            layer = nn.utils.parametrizations.weight_norm(layer)
        elif self.random.random() < 0.08:
            layer = Noisy(n, m)
        self._add(layer)

    def _convolution(self) -> None:
        n = self.shape[1]
        choices: list[Callable[[], nn.Module]] = [
            lambda: nn.Conv2d(n, 8, 3, padding=1),
            lambda: nn.Conv2d(n, n, 3, padding=1, groups=n),
            lambda: nn.Conv2d(n, 8, 1, groups=2 if n % 2 == 0 else 1, bias=False),
            lambda: nn.ConvTranspose2d(n, 4, 3, padding=1, groups=2 if n % 2 == 0 else 1),
        ]
        self._add(self.random.choice(choices)())

    def _normalization(self) -> None:
        n = self.shape[1] if len(self.shape) == 4 else self.shape[-1]
        if len(self.shape) == 4:
            self._add(self.random.choice((nn.BatchNorm2d(n), nn.GroupNorm(1, n), nn.InstanceNorm2d(n, affine=True))))
        elif len(self.shape) == 3:
            self._add(self.random.choice((nn.LayerNorm(n), nn.RMSNorm(n), nn.BatchNorm1d(self.shape[1]))))
        else:
            self._add(self.random.choice((nn.LayerNorm(n), nn.BatchNorm1d(n))))
        with torch.no_grad():
            for parameter in self.layers[f"l{len(self.layers) - 1}"].parameters():
                parameter.uniform_(0.5, 1.5)

    def _activation(self) -> None:
        kind = self.random.random()
        if kind < 0.2:
            function = self.random.choice((F.relu, torch.tanh, F.gelu, F.leaky_relu, F.elu))
            self._step(lambda net, x: function(x))
        elif kind < 0.3 and (names := [n for n, m in self.layers.items() if isinstance(m, (nn.ReLU, nn.Tanh))]):
            name = self.random.choice(names)  # one module in two places
            self._step(lambda net, x: net.layers[name](x))
        else:
            made = (nn.ReLU, nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.ELU, lambda: nn.ReLU(inplace=True))
            self._add(self.random.choice(made)())

    def _hook(self, net: Net) -> None:
        module = self.random.choice([*net.layers.values(), net])
        kind = self.random.random()
        if kind < 0.05:
            module.register_forward_pre_hook(lambda m, args: (torch.tanh(args[0]), *args[1:]))
        elif kind < 0.1:
            module.register_forward_hook(lambda m, args, out: torch.tanh(out) if torch.is_tensor(out) else out)


class Mean(nn.Module):
    """The mean over all but the first dimension and that of the units."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.dims = {2: (), 3: (1,), 4: (2, 3)}.get(rank, ())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=self.dims) if self.dims else x


class Recurrent(nn.Module):
    """A recurrent layer's outputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class Attention(Recurrent):
    """Attention of a sequence to itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, x, x)[0]


class Noisy(nn.Linear):
    """A linear layer with a forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * 2 if self.training else self.weight, self.bias)
