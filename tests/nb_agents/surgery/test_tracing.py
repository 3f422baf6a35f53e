"""How a network is followed: in both modes, on every branch, in what cannot be traced, with sizes from an example."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx, nn

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.surgery.networks import (
    IMAGE,
    VECTOR,
    Branching,
    Functional,
    Residual,
    Untraceable,
    close,
    shuffle_ks,
)


class Parts(nn.Module):
    """Gated features between inputs whose sizes only an example tells."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4, 8), nn.Linear(14, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([a.flatten(1), torch.tanh(self.inner(b)), c], dim=1))


@torch.no_grad()
def test_example_inputs_tell_sizes() -> None:
    example = torch.randn(3, 2, 2), torch.randn(3, 4), torch.randn(3, 2)
    gated = insert_gates(Parts(), block_size=2)
    shuffle_ks(gated)
    with pytest.raises(FoldError, match=r"'tanh_gate'.*without example_inputs"):
        fold_gates(gated)
    assert close(fold_gates(gated, example_inputs=example)(*example), gated(*example))
    assert torch.equal(insert_gates(gated_free := Parts(), example_inputs=example)(*example), gated_free(*example))


@torch.no_grad()
def test_graph_module_still_follows_train_and_eval() -> None:
    network, x = Functional(), torch.randn(VECTOR)
    gated = insert_gates(network)
    assert isinstance(gated, fx.GraphModule)
    assert gated.training
    torch.manual_seed(0)
    noisy = gated(x)
    torch.manual_seed(0)
    assert torch.equal(network(x), noisy)
    assert torch.equal(gated.eval()(x), network.eval()(x))
    assert not torch.equal(gated(x), noisy)


@torch.no_grad()
def test_untraceable_module_has_its_children_gated() -> None:
    network, x = Untraceable(), torch.randn(VECTOR)
    with pytest.warns(UserWarning, match="cannot trace Untraceable.forward"):
        gated = insert_gates(network)
    assert isinstance(gated, Untraceable)
    assert [name for name, _ in named_gates(gated)] == ["body.1"]
    assert torch.equal(gated(x), network(x))
    shuffle_ks(gated)
    with pytest.raises(FoldError, match=r"gates \['body.1'\]: torch.fx cannot trace.*pass example_inputs"):
        fold_gates(gated)
    assert close(fold_gates(gated, example_inputs=(x,))(x), gated(x))
    gated.body.append(KGate(8, activation=nn.Tanh()))
    with pytest.raises(FoldError, match=r"in 'body', gate '4': its values leave.*cannot trace Untraceable"):
        fold_gates(gated, example_inputs=(x,))


@torch.no_grad()
def test_every_branch_is_followed() -> None:
    network, x = Branching(), torch.randn(VECTOR)
    gated = insert_gates(network)
    assert [name for name, _ in named_gates(gated)] == ["body.1", "body.3"]
    assert torch.equal(gated(x), network(x))
    shuffle_ks(gated)
    folded = fold_gates(gated)
    for sample in (x, -x, 3 * x):
        assert close(folded(sample), gated(sample))
    gated.body.append(KGate(8, activation=nn.Tanh()))
    with pytest.raises(FoldError, match=r"gate 'body.4': a reduction over the units"):
        fold_gates(gated)


class TwoModes(Functional):
    """Something else in training than in evaluation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + 1 if self.training else x)


def test_other_uses_of_the_mode_are_not_frozen_in() -> None:
    with pytest.raises(ValueError, match=r"TwoModes has no hidden.*something else in train\(\) than in eval\(\) mode"):
        insert_gates(TwoModes())


def test_modes_of_parts_stay() -> None:
    network = Residual()
    network.stem[1].eval()
    gated = insert_gates(network)
    assert [network.stem[1].training, network.head.training] == [False, True]
    assert [gated.get_submodule("stem.1").training, gated.get_submodule("head").training] == [False, True]


class TimeAxis(nn.Module):
    """Concatenates along another axis than that of the units."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([torch.tanh(self.inner(x)), more], dim=1))


def test_concatenation_in_time_is_not_mistaken_for_units() -> None:
    with pytest.raises(FoldError, match="unknown without example_inputs"):
        fold_gates(insert_gates(TimeAxis()))


class Batched(nn.Module):
    """``view(-1, n)``, which only an example shows to keep the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4 * 18 * 18, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.silu(self.conv(x)).view(-1, 4 * 18 * 18))


@torch.no_grad()
def test_view_with_unknown_rows_needs_an_example() -> None:
    gated, x = insert_gates(Batched(), block_size=1), torch.randn(IMAGE)
    shuffle_ks(gated)
    with pytest.raises(FoldError, match="example_inputs may tell"):
        fold_gates(gated)
    assert close(fold_gates(gated, example_inputs=(x,))(x), gated(x))
