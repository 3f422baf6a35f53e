"""Networks with several ways in, and what every one of them gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nb_agents.gates.gate import named_gates


class Base(nn.Module):
    """A hidden layer and two heads; `forward` and other methods differ below."""

    def __init__(self, act: Callable[[], nn.Module] = nn.Tanh) -> None:
        super().__init__()
        self.a, self.act, self.b, self.aux = nn.Linear(8, 32), act(), nn.Linear(32, 4), nn.Linear(32, 4)
        self.flag, self.h = False, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.act(self.a(x)))


class OneHead(Base):
    def __init__(self, act: Callable[[], nn.Module] = nn.Tanh) -> None:
        super().__init__(act)
        del self.aux


class Value(Base):
    def value(self, x: torch.Tensor) -> torch.Tensor:
        return self.aux(self.act(self.a(x)))


class Encodes(OneHead):
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.a(x))


class Modes(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x))
        return self.b(h) + self.aux(h) if self.training else self.b(h)


class Optional(Base):
    def forward(self, x: torch.Tensor, task: torch.Tensor | None = None, both: bool = False) -> torch.Tensor:
        h = self.act(self.a(x))
        y = self.b(h) if task is None else self.aux(h) + task
        return y + self.aux(h) if both else y


class Toggled(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x))
        return self.aux(h) if self.flag else self.b(h)


class Kept(OneHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h = self.act(self.a(x))
        return self.b(self.h)


class Listed(OneHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h = {"values": [self.act(self.a(x))]}
        return self.b(self.h["values"][0])


class Divided(OneHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.div(self.act(self.a(x)), 0.3, rounding_mode="trunc"))


class Cast(OneHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b((10 * self.act(self.a(x))).to(torch.int32).to(torch.float32))


class Functional(OneHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self.act(self.a(x)), self.b.weight)


class Decided(OneHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x))
        return self.b(-h if h.sum() > 0 else h)


class Called(nn.Module):
    """Children called in pieces."""

    def __init__(self, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Linear(8, 16), act(), nn.Linear(16, 16), act())
        self.b, self.c = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.f(x)) + self.c(self.f[:2](x))


X = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))


def toggle(net: Any) -> torch.Tensor:
    net.flag = True
    return net(X)


def kept(net: Any) -> torch.Tensor:
    net(X)
    return net.h["values"][0] if isinstance(net.h, dict) else net.h


ENTRIES: list[Callable[[Any], torch.Tensor]] = [
    lambda net: net(X),
    lambda net: net(X, X[:, :4]),
    lambda net: net(X, both=True),
    lambda net: net.value(X),
    lambda net: net.encode(X),
    toggle,
    kept,
]


@torch.no_grad()
def answers(net: nn.Module) -> list[torch.Tensor | None]:
    """What every entry that the network has gives in both modes."""
    found: list[torch.Tensor | None] = []
    for mode in (True, False):
        for entry in ENTRIES:
            twin = copy.deepcopy(net).train(mode)
            try:
                found.append(entry(twin))
            except (TypeError, AttributeError):
                found.append(None)
    assert any(each is not None for each in found)
    return found


def equal(one: nn.Module, other: nn.Module, tolerance: float = 0.0) -> bool:
    pairs = zip(answers(one), answers(other), strict=True)
    return all(b is not None and (a - b).abs().max() <= tolerance for a, b in pairs if a is not None)


def shuffled(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, gate in named_gates(net):
            gate.k.normal_(generator=generator)
    return net


NETWORKS = [
    Value, Encodes, Modes, Optional, Toggled, Kept, Listed, Divided, Cast, Functional, Decided, Called,
]  # fmt: skip
