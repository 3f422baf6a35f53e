"""No network becomes another function in silence: what is followed, what is refused by name, and what stays equal."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import nb_agents
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.policies.placing import gate_sequential
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.retrofit import retrofit
from nb_agents.surgery.weights import FoldError


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


def test_gates_live_where_their_layers_do() -> None:
    net = nn.Sequential(nn.Linear(8, 8).half(), nn.ReLU(), nn.Linear(8, 8, device="meta"), nn.ReLU(), nn.Linear(8, 4))
    net.register_parameter("count", nn.Parameter(torch.zeros(1, dtype=torch.long), requires_grad=False))
    places = [(gate.k.dtype, gate.k.device.type) for _, gate in named_gates(insert_gates(net))]
    assert places == [(torch.float16, "cpu"), (torch.float32, "meta")]


class Custom(nn.Module):
    """A layer that nobody knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], -1)


def test_widths_behind_unknown_layers_are_not_guessed() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Custom(), nn.ReLU(), nn.Linear(16, 2))
    gate_sequential(net, gate_last=False)
    assert [name for name, _ in named_gates(net)] == ["1"]
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(4 * 16, 2))
    gate_sequential(flat, gate_last=False)
    assert not any(named_gates(flat))
    nested = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.Dropout()), nn.ReLU(), nn.Linear(6, 2).double())
    gate_sequential(nested, gate_last=False)
    ((name, gate),) = named_gates(nested)
    assert (name, gate.n_units, gate.k.dtype) == ("1", 6, torch.float32)


class Normalized(BaseFeaturesExtractor):
    """A normalization behind the activation."""

    def __init__(self, space: Any) -> None:
        super().__init__(space, 8)
        self.net = nn.Sequential(nn.Linear(space.shape[0], 8), nn.ReLU(), nn.LayerNorm(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize("activation_fn", [nn.ELU, partial(nn.LeakyReLU, 0.1), lambda: nn.Softplus(2)])
def test_shared_extractors_and_activations_that_are_no_class(activation_fn: Any) -> None:
    kwargs = {"features_extractor_class": Normalized, "activation_fn": activation_fn, "net_arch": [8]}
    model = SAC(
        nb_agents.KGatedSACPolicy, "Pendulum-v1", policy_kwargs={**kwargs, "share_features_extractor": True},
        buffer_size=10, device="cpu",
    )  # fmt: skip
    assert list(model.policy.gates) == ["actor.features_extractor.net.2", "actor.latent_pi.1"]
    shuffled(model.policy)
    assert not any(named_gates(fold_gates(model).policy))


class Trunk(nn.Module):
    """An MLP extractor as a user writes it: a trunk, and activations that are attributes."""

    latent_dim_pi = latent_dim_vf = 8

    def __init__(self, n: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.LayerNorm(8))
        self.pi, self.pi_act, self.vf, self.shared = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(x), self.forward_critic(x)

    def forward_actor(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.pi_act(self.pi(self.trunk(x))))

    def forward_critic(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.vf(self.trunk(x)))


class Own(ActorCriticPolicy):
    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = Trunk(self.features_dim)  # type: ignore[assignment]


class OwnGated(nb_agents.ActorCriticGates, Own):
    """`Own` with gates."""


def test_own_mlp_extractor() -> None:
    model = A2C(OwnGated, "Pendulum-v1", device="cpu")
    assert list(model.policy.gates) == ["mlp_extractor.trunk.2", "mlp_extractor.pi_act"]
    shuffled(model.policy)
    assert type(fold_gates(model).policy) is Own


def test_frozen_parameters_stay_frozen() -> None:
    model = A2C("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8, 8]}, device="cpu")
    frozen = {"mlp_extractor.policy_net.0.weight", "value_net.bias", "log_std"}
    for name, parameter in model.policy.named_parameters():
        parameter.requires_grad_(name not in frozen)
    gated = retrofit(model)
    assert {name for name, p in gated.policy.named_parameters() if not p.requires_grad} == frozen
    for adapted in (False, True):
        if adapted:
            gated.policy.train_only("gates")
        for policy in (fold_gates(gated).policy, fold_gates(gated.policy)):
            assert {name for name, p in policy.named_parameters() if not p.requires_grad} == frozen
    net = OneHead()
    net.a.weight.requires_grad_(False)
    folded = fold_gates(insert_gates(net))
    assert [name for name, p in folded.named_parameters() if not p.requires_grad] == ["a.weight"]
