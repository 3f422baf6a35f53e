"""Code that asks tracing for more than values: no network becomes another function because of the answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from stable_baselines3 import PPO
from torch import is_tensor as asks_for_a_tensor
from torch import nn

import nb_agents
from nb_agents.export.onnx import DeterministicPolicy
from nb_agents.gates.gate import named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.weights import FoldError

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
SWITCH = False


def helper(x: Any) -> bool:
    return type(x) is torch.Tensor


def length(x: Any) -> bool:
    try:
        return int(x.shape[0]) > 0
    except TypeError:
        return False


class Two(nn.Module):
    """Two ways to go on behind a hidden layer; `first` says which."""

    off = False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.act = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 4), nn.Tanh()
        self.flag, self.opt, self.n, self.kind, self.calls, self.cfg = False, None, 2, "b", 0, {"b": 1}
        self.register_buffer("on", torch.zeros(()))

    def _hidden(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.a(x))

    def first(self, x: Any) -> Any:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self._hidden(x)
        return self.c(h) if self.first(x) else self.c(self.b(h))


class Functional(Two):
    def _hidden(self, x: torch.Tensor) -> torch.Tensor:
        return F.tanh(self.a(x))


def network(base: type[Two], first: Callable[[Any, Any], Any]) -> Any:
    return type("Net", (base,), {"first": first})()


def counts(self: Any, x: Any) -> Any:
    self.calls += 1
    return self.calls > 1


def copies(self: Any, x: Any) -> Any:
    n = self.n
    return n == 3


def matches(self: Any, x: Any) -> Any:
    match x:
        case torch.Tensor():
            return True
    return False


def keeps(self: Any, x: Any) -> Any:
    self.seen = x
    return isinstance(self.seen, torch.Tensor)


def tries(self: Any, x: Any) -> Any:
    try:
        return int(x.shape[0]) > 0
    except TypeError:
        return False


TYPES: dict[str, Callable[[Any, Any], Any]] = {
    "isinstance": lambda self, x: isinstance(x, torch.Tensor),
    "isinstance of several": lambda self, x: isinstance(x, (torch.Tensor, nn.Module)),
    "is_tensor": lambda self, x: torch.is_tensor(x),
    "is_tensor by another name": lambda self, x: asks_for_a_tensor(x),
    "type": lambda self, x: type(x) is torch.Tensor,
    "type in a function": lambda self, x: helper(x),
    "__class__": lambda self, x: x.__class__ is torch.Tensor,
    "match": matches,
    "try": tries,
    "try in a function": lambda self, x: length(x),
    "kept": keeps,
}
MODES: dict[str, Callable[[Any, Any], Any]] = {
    "grad": lambda self, x: torch.is_grad_enabled(),
    "no grad": lambda self, x: not torch.is_grad_enabled(),
    "inference": lambda self, x: torch.is_inference_mode_enabled(),
    "autocast": lambda self, x: torch.is_autocast_enabled(),
}


def gated(net: nn.Module, **kwargs: Any) -> Any:
    net = insert_gates(net, block_size=3, **kwargs)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, gate in named_gates(net):
            gate.k.normal_(generator=generator)
    return net


@pytest.mark.parametrize("first", [*TYPES.values(), *MODES.values()], ids=[*TYPES, *MODES])
def test_no_graph_takes_the_place_of_code_that_asks_what_a_value_is(first: Any) -> None:
    net = network(Functional, first)
    with pytest.raises(ValueError, match="has no hidden activation to gate"):
        insert_gates(net)
    in_place = network(Two, first)
    assert torch.equal(insert_gates(in_place)(X), in_place(X))


@pytest.mark.parametrize("first", [*TYPES.values(), *MODES.values()], ids=[*TYPES, *MODES])
def test_folding_refuses_what_tracing_answers_otherwise(first: Any) -> None:
    net = gated(network(Two, first))
    with pytest.raises(FoldError, match=r"Net cannot be followed because of (\w+\(\)|a \w+ statement) in|kept|reads"):
        fold_gates(net)
    with pytest.raises(FoldError):
        insert_gates(network(Two, first), gate_max=None)


def test_an_example_settles_questions_about_values() -> None:
    net = gated(network(Two, lambda self, x: not isinstance(x, torch.Tensor)))
    with pytest.raises(FoldError, match="pass example_inputs"):
        fold_gates(net)
    right = gated(network(Two, lambda self, x: not hasattr(x, "nothing") and x.__class__ is None))
    torch.testing.assert_close(fold_gates(right, example_inputs=(X,))(X), right(X))
    with pytest.raises(FoldError, match="does not compute the same"):
        fold_gates(gated(network(Two, TYPES["is_tensor"])), example_inputs=(X,))


def test_questions_about_modules_are_none_about_values() -> None:
    class Asks(Two):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in (self.a, self.act, self.b):
                x = layer(x) if isinstance(layer, (nn.Linear, nn.Module)) else x
            return self.c(x) if isinstance(self.c, nn.Linear) and hasattr(self, "b") else x

    net = gated(Asks())
    torch.testing.assert_close(fold_gates(net)(X), net(X))


TOGGLES: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "flag": (lambda self, x: self.flag, lambda net: setattr(net, "flag", True)),
    "not flag": (lambda self, x: not self.flag, lambda net: setattr(net, "flag", True)),
    "class attribute": (lambda self, x: self.off, lambda net: setattr(net, "off", True)),
    "two flags": (
        lambda self, x: self.flag and self.off,
        lambda net: (setattr(net, "flag", True), setattr(net, "off", True)),
    ),
    "None": (lambda self, x: self.opt is not None, lambda net: setattr(net, "opt", nn.Identity())),
    "None is": (lambda self, x: self.opt is None, lambda net: setattr(net, "opt", nn.Identity())),
    "int": (lambda self, x: self.n == 3, lambda net: setattr(net, "n", 3)),
    "copied int": (copies, lambda net: setattr(net, "n", 3)),
    "text": (lambda self, x: self.kind == "c", lambda net: setattr(net, "kind", "c")),
    "dictionary": (lambda self, x: self.cfg["b"] == 2, lambda net: setattr(net, "cfg", {"b": 2})),
    "counter": (counts, lambda net: net(X)),
    "buffer": (lambda self, x: self.on, lambda net: net.on.fill_(1)),
    "buffer item": (lambda self, x: self.on.item(), lambda net: net.on.fill_(1)),
    "buffer compared": (lambda self, x: self.on > 0.5, lambda net: net.on.fill_(1)),
    "global": (lambda self, x: SWITCH, lambda net: globals().__setitem__("SWITCH", True)),
}


FROZEN = ("None", "None is", "int", "copied int", "text", "dictionary")
"""A graph takes numbers and None from attributes as they are, as documented."""


@pytest.mark.parametrize("name", TOGGLES)
def test_what_changes_later_is_followed_or_refused(name: str) -> None:
    first, toggle = TOGGLES[name]
    net = network(Two, first)
    in_place = insert_gates(net)
    with pytest.raises(FoldError, match=r"which may change later|the weights of c are used several times"):
        fold_gates(gated(net))
    if name not in FROZEN:
        with pytest.raises(ValueError, match="no hidden activation to gate"):
            insert_gates(network(Functional, first))
    try:
        for each in (net, in_place):
            toggle(each)
        assert torch.equal(net(X), in_place(X))
    finally:
        globals()["SWITCH"] = False


@pytest.mark.parametrize(("first", "toggle"), [TOGGLES[name] for name in ("flag", "class attribute", "None", "buffer")])
def test_a_gate_is_folded_into_both_branches(first: Any, toggle: Any) -> None:
    class Heads(Two):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self._hidden(x)
            return self.c(h) if self.first(x) else self.b(h)

    net = gated(network(Heads, first))
    folded = fold_gates(net)
    assert not any(named_gates(folded))
    torch.testing.assert_close(folded(X), net(X))
    for each in (net, folded):
        toggle(each)
    assert net(X).shape == (6, 4)
    torch.testing.assert_close(folded(X), net(X))


def no_grad(self: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        h = F.tanh(self.a(x))
    return self.c(h)


def autocast(self: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        h = F.tanh(self.a(x))
    return self.c(h.float())


@torch.no_grad()
def decorated(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.c(F.tanh(self.a(x)))


def switched(self: Any, x: torch.Tensor) -> torch.Tensor:
    torch.set_grad_enabled(False)
    h = F.tanh(self.a(x))
    torch.set_grad_enabled(True)
    return self.c(h)


@pytest.mark.parametrize("forward", [no_grad, autocast, decorated, switched])
def test_a_context_is_never_dropped(forward: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot become one graph because of (a (with|decor)|set_grad_enabled)"):
        insert_gates(type("Net", (Two,), {"forward": forward})())


MADE: list[Callable[[], torch.Tensor]] = [
    lambda: torch.rand(6),
    lambda: torch.ones(6),
    lambda: torch.tensor([1.0] * 6),
]


@pytest.mark.parametrize("made", MADE, ids=["rand", "ones", "tensor"])
def test_a_tensor_made_on_the_way_is_not_frozen(made: Any) -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.c(F.tanh(self.a(x)) + made())

    with pytest.raises(ValueError, match="makes a tensor, whose numbers a graph would freeze"):
        insert_gates(type("Net", (Two,), {"forward": forward})())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_policy_with_broken_gates_is_exported(value: float) -> None:
    model = PPO(nb_agents.KGatedPolicy, "CartPole-v1", device="cpu", n_steps=16, batch_size=8)
    name, gate = list(named_gates(model.policy))[-1]
    before = copy.deepcopy(gate.k)
    with torch.no_grad():
        gate.k[-1] = value
    with pytest.raises(ValueError, match=f"the k of gate '{name}' must be finite"):
        DeterministicPolicy(model)
    gate.k.data.copy_(before)
    DeterministicPolicy(model)
