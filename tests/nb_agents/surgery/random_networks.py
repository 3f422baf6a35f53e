"""Random networks, and whether inserting gates and folding them changes one in silence.

``PYTHONPATH=. python -m tests.nb_agents.surgery.random_networks 2000`` counts what became of so many.
"""

from __future__ import annotations

import ast
import collections
import copy
import random
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from tests.nb_agents.surgery.random_parts import add_part

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
    """Draws the steps of one network."""

    def __init__(self, seed: int) -> None:
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
            twist, before = self.random.choice(TWISTS), (dict(self.layers), list(self.steps), self.shape)
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


def by_hand(net: Net) -> Net:
    """A copy with gates of the user's own around activation modules."""
    gated = copy.deepcopy(net)
    for name, module in list(gated.layers.items()):
        if isinstance(module, (nn.ReLU, nn.Tanh, nn.LeakyReLU)):
            gated.layers[name] = KGate(1, block_size=None, activation=module)
    return gated


@torch.no_grad()
def differs(one: nn.Module, other: nn.Module, x: torch.Tensor, tolerance: float) -> bool:
    """Whether two networks compute different things in any mode, by any entry, or keep different values.

    An entry that fails in the first is skipped; where it fails in the second alone, that is no silence either.
    """
    entries: list[Callable[[Any], Any]] = [lambda net: net(x)]
    if isinstance(one, WithOption):
        entries.append(lambda net: net(x, torch.full((), 0.7, dtype=x.dtype)))
    if hasattr(one, "value") and hasattr(other, "value"):
        entries.append(lambda net: net.value(x))
    if hasattr(one, "kept") and hasattr(other, "kept"):
        entries.append(lambda net: (net(x), net.kept)[1])

    def run(net: nn.Module, mode: bool, entry: Callable[[Any], Any]) -> Any:
        torch.manual_seed(0)
        try:
            return entry(copy.deepcopy(net).train(mode))
        except (RuntimeError, ValueError, IndexError):
            return None

    for mode in (True, False):
        for entry in entries:
            a, b = run(one, mode, entry), run(other, mode, entry)
            if a is not None and b is not None:
                if not (b - a).abs().max() <= tolerance * max(float(a.abs().max()), 1e-3):
                    return True
            elif a is not None:
                print("fails:", mode, type(one).__name__, file=sys.stderr)
    return False


def insert(net: nn.Module, example_inputs: tuple[Any, ...] | None) -> nn.Module:
    """Gates wherever they can go."""

    def attempt(exclude: tuple[str, ...]) -> nn.Module:
        try:
            return insert_gates(net, block_size=2, example_inputs=example_inputs, exclude=exclude)
        except ValueError as error:
            if (found := re.search(r"exclude=(\(.*\))$", str(error))) is None:
                raise
            return attempt((*exclude, *ast.literal_eval(found[1])))

    return attempt(())


def outcome(seed: int) -> tuple[str, str]:
    """What became of one network: of inserting gates, and of folding them."""
    torch.manual_seed(seed)
    net, x = Builder(seed).build()
    net, x = net.double(), x.double()
    example: tuple[Any, ...] | None = (x,) if seed % 2 else None
    inserted, folded = "inserted", "none"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if seed % 3:
            try:
                gated = insert(net, example)
            except ValueError as error:
                return "refused", f"none: {error}"
            if differs(net, gated, x, 0.0):
                return "SILENT", "none"
        else:
            gated = by_hand(net)
            if not any(named_gates(gated)):
                return "no gates", "none"
        with torch.no_grad():
            for _, gate in named_gates(gated):
                gate.k.normal_(0.0, 2.0)
        try:
            plain = fold_gates(gated, example_inputs=example, fixed=example is not None and seed % 5 == 0)
        except ValueError as error:
            folded = f"refused: {error}"
        else:
            folded = "SILENT" if differs(gated, plain, x, 1e-7) else "folded"
    return inserted, folded


def main(n: int) -> None:
    """Print the counts of ``n`` networks."""
    inserting, folding = collections.Counter[str](), collections.Counter[str]()
    for seed in range(n):
        inserted, folded = outcome(seed)
        inserting[inserted] += 1
        folding[folded.split(":")[0]] += 1
        if "SILENT" in (inserted, folded):
            print("silent:", seed, inserted, folded, flush=True)
        if seed % 100 == 99:
            print(seed + 1, dict(inserting), dict(folding), file=sys.stderr)
    print(dict(inserting), dict(folding))


if __name__ == "__main__":
    main(int(sys.argv[1]))
