"""No network becomes another function in silence: what is followed, what is refused by name, and what stays equal."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO
from torch import nn

import nb_agents
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.surgery.entries import (
    NETWORKS,
    Cast,
    Decided,
    Divided,
    Encodes,
    Functional,
    Kept,
    Listed,
    OneHead,
    X,
    equal,
    shuffled,
)

REFUSED = {
    Encodes: r"gate 'act': its values leave .*'encode'.*methods=\(\)",
    Kept: "gate 'act': its values are kept as 'h'",
    Listed: "gate 'act': its values are kept as 'h'",
    Divided: "gate 'act': div",
    Cast: "gate 'act': to",
    Functional: "gate 'act': linear",
    Decided: "gate 'act': a reduction over the units",
}
"""With tanh, which the layer before cannot take the gate up through."""


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_every_entry_gives_the_same(kind: type[nn.Module], act: type[nn.Module]) -> None:
    net = kind(act)
    gated = insert_gates(net, block_size=4)
    assert equal(net, gated)
    shuffled(gated)
    if act is nn.Tanh and kind in REFUSED:
        before = copy.deepcopy(gated.state_dict())
        with pytest.raises(FoldError, match=REFUSED[kind]):
            fold_gates(gated)
        assert all(torch.equal(before[name], value) for name, value in gated.state_dict().items())
    else:
        folded = fold_gates(gated)
        assert not any(named_gates(folded))
        assert equal(gated, folded, 1e-5)


def test_methods_says_what_has_to_stay() -> None:
    gated = shuffled(insert_gates(Encodes()))
    torch.testing.assert_close(fold_gates(gated, methods=())(X), gated(X))
    with pytest.raises(FoldError, match="its values leave"):
        fold_gates(gated, methods=("encode",))
    with pytest.raises(ValueError, match=r"methods must be names of methods of Encodes, got \('decode',\)"):
        fold_gates(gated, methods=("decode",))


def double(module: nn.Module, args: Any, out: torch.Tensor) -> torch.Tensor:
    return 2 * out + 1


def squash(module: nn.Module, args: Any) -> Any:
    return (torch.tanh(args[0]),)


def test_hooks_are_respected_or_refused() -> None:
    reader = OneHead()
    reader.b.register_forward_pre_hook(squash)
    gated = insert_gates(reader)
    assert torch.equal(gated(X), reader(X))
    with pytest.raises(FoldError, match="gate 'act': b has forward hooks"):
        fold_gates(shuffled(gated))
    local = OneHead(nn.ReLU)
    local.b.register_forward_pre_hook(squash)
    gated = shuffled(insert_gates(local))
    torch.testing.assert_close(fold_gates(gated)(X), gated(X))
    hooked = shuffled(insert_gates(OneHead(nn.ReLU)))
    hooked.act.register_forward_hook(double)
    with pytest.raises(FoldError, match="gate 'act': it has forward hooks"):
        fold_gates(hooked)
    seen: list[Any] = []
    root = OneHead(nn.ReLU)
    root.register_forward_hook(lambda module, args, out: seen.append(out))
    with pytest.raises(ValueError, match="forward hooks"):
        insert_gates(root)
    assert seen == [], "a hook of the user's never sees what tracing passes"


def test_a_graph_never_stands_for_more_than_one_path() -> None:
    class Switch(OneHead):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.tanh(self.a(x))
            return self.b(-h if self.flag else h)

    with pytest.raises(ValueError, match=r"depends on \['flag'\]"):
        insert_gates(Switch())

    class Left(OneHead):
        def forward(self, x: torch.Tensor, plus: torch.Tensor | None = None) -> torch.Tensor:
            h = torch.tanh(self.a(x))
            return self.b(h if plus is None else h + plus)

    with pytest.raises(ValueError, match="something else where 'plus' is left out"):
        insert_gates(Left())

    class Keeps(OneHead):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.h = torch.tanh(self.a(x))
            return self.b(self.h)

    with pytest.raises(ValueError, match=r"keeps values as \['h'\]"):
        insert_gates(Keeps())


def test_no_proxy_stays() -> None:
    for kind in (Kept, Listed):
        net = kind()
        gated = insert_gates(net)
        assert gated.h is None
        net(X)  # now it keeps a tensor with a history
        gated = insert_gates(net)
        shuffled(gated)
        pickle.dumps(gated.state_dict())
        assert not isinstance(gated.h, torch.fx.Proxy)


class ByHand(nn.Module):
    """A gate of the user's own, in two methods or one."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.a, self.gate, self.b = nn.Linear(8, 32), KGate(32, activation=act), nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))

    def _hidden(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.gate(self.a(x)))


def test_a_gate_that_is_never_reached_or_not_finite_is_named() -> None:
    with pytest.raises(FoldError, match="gate 'gate': forward does not call it"):
        fold_gates(ByHand(nn.ReLU()))
    gated = insert_gates(OneHead())
    with torch.no_grad():
        gated.act.k[0] = float("nan")
    with pytest.raises(FoldError, match=r"the gates \['act'\] are not finite"):
        fold_gates(gated)
    model = PPO(nb_agents.KGatedPolicy, "Pendulum-v1", device="cpu", n_steps=16, batch_size=8)
    model.policy.extra = shuffled(insert_gates(OneHead()))
    with pytest.raises(FoldError, match=r"gate 'extra.act': forward does not call it"):
        fold_gates(model)


def test_a_wrong_result_is_caught_by_the_example() -> None:
    class InPieces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
            self.other = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.f[1](self.f[0](x))
            return self.f[2](h) + self.other(h) if float(h.sum()) < 1e9 else h

    with pytest.warns(UserWarning, match="Only its children"):
        gated = shuffled(insert_gates(InPieces()))
    with pytest.raises(FoldError, match="pass example_inputs"):
        fold_gates(gated)
    with pytest.raises(FoldError, match="does not compute the same: in its present mode its output differs by up to"):
        fold_gates(gated, example_inputs=(X,))
    with pytest.raises(ValueError, match="example_inputs must be what InPieces accepts"):
        insert_gates(InPieces(), example_inputs=(torch.randn(3, 9),))
