"""Which values between a gate and the layers behind keep its factor, so that it folds, and which say why not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.nn.utils.prune import random_unstructured

from nb_agents.gates.gate import KGate
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.surgery.networks import IMAGE, SKIPPED, VECTOR, Residual, Untraceable, close, shuffle_ks


@torch.no_grad()
def test_a_skip_is_named() -> None:
    """The gate is behind a sum, so the layer before cannot take it up, and a skip leads around the layer behind."""
    gated, x = insert_gates(Residual()), torch.randn(IMAGE)
    shuffle_ks(gated)
    with pytest.raises(FoldError, match=f"gate '{SKIPPED}': a sum with other values"):
        fold_gates(gated)
    with pytest.raises(FoldError, match=rf"no neutral gate '{SKIPPED}'.*gate_max=2.0"):
        insert_gates(Residual(), gate_max=None)
    assert torch.equal(insert_gates(network := Residual().eval())(x), network(x)), "nothing is divided by default"


class Skip(nn.Module):
    """The same values twice behind a gate: the factor survives the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out, self.dropout = nn.Linear(4, 8), nn.Linear(8, 2), nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.inner(x))
        return self.out(h + self.dropout(h))


@torch.no_grad()
def test_a_sum_of_equally_scaled_values_folds() -> None:
    gated, x = insert_gates(Skip().eval(), block_size=2), torch.randn(VECTOR)
    shuffle_ks(gated)
    assert close(fold_gates(gated)(x), gated(x))


BLOCKED = {
    "leave the network": nn.Sequential(nn.Linear(4, 8), KGate(8, activation=nn.Tanh())),
    r"1 \(Softmax\)": nn.Sequential(KGate(4), nn.Softmax(-1), nn.Linear(4, 2)),
    r"1 \(LayerNorm\)": nn.Sequential(KGate(4), nn.LayerNorm(4), nn.Linear(4, 2)),
    "another axis": nn.Sequential(nn.Conv2d(3, 4, 3), KGate(4, spatial_dims=2, activation=nn.Tanh()), nn.Linear(18, 2)),
    "computed by a parametrization": nn.Sequential(KGate(4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))),
    "or a hook": nn.Sequential(KGate(4), random_unstructured(nn.Linear(4, 2).requires_grad_(False), "weight", 0.5)),
    r"1 is computed": nn.Sequential(KGate(4), nn.utils.parametrizations.weight_norm(nn.GRU(4, 2), "weight_ih_l0")),
    r"1 \(Tanh\)": nn.Sequential(KGate(4), nn.Tanh(), nn.Linear(4, 2)),
}


@pytest.mark.parametrize("reason", list(BLOCKED))
def test_what_cannot_be_folded_says_why(reason: str) -> None:
    network = BLOCKED[reason]
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(FoldError, match=rf"gate '\d'.*{reason}"):
        fold_gates(network)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    "between",
    [
        lambda h: torch.mul(h, other=h),
        lambda h: h.mul_(h),
        lambda h: h / h.exp(),
        lambda h: 1 / h,
        lambda h: F.avg_pool1d(h, 3, stride=1, padding=1),
        lambda h: F.max_pool1d(h, 3, stride=1, padding=1),
        lambda h: torch.cat(h.chunk(2, -1), -1),
        lambda h: h.flip(-1),
    ],
    ids=["square by name", "square in place", "quotient", "inverse", "mean", "maximum", "parts", "order"],
)
def test_what_does_not_keep_the_factor_of_each_unit_is_not_folded(
    between: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(between(torch.tanh(self.inner(x))))

    with pytest.raises(FoldError, match="gate 'tanh_gate'"):
        fold_gates(insert_gates(Network(), block_size=2))


def test_pooling_modules_over_units_are_not_folded() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.AvgPool1d(3, stride=1, padding=1), nn.Linear(8, 2))
    with pytest.raises(FoldError, match="AvgPool1d over neighbouring units"):
        fold_gates(insert_gates(network))


class Tied(nn.Module):
    """One weight behind a gate and elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.act = nn.Linear(4, 4), KGate(4, activation=nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.act(self.shared(x)))


class TiedFunction(Tied):
    """The same through a function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.act(F.linear(x, self.shared.weight)))


class TiedChildren(Untraceable):
    """Two children of an untraceable module that share a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Sequential(self.body[0])


def test_a_weight_that_is_also_used_elsewhere_is_not_scaled() -> None:
    for network in (Tied(), TiedFunction()):
        with pytest.raises(FoldError, match=r"gate 'act'.*shared are used several times"):
            fold_gates(network)
    with pytest.raises(ValueError, match="its children 'body' and 'other' share parameters"):
        insert_gates(TiedChildren())


def test_gates_in_a_row_and_recurrent_layers_fold() -> None:
    x = torch.randn(5, 6, 4)
    for network in (
        nn.Sequential(KGate(4), KGate(4, activation=nn.ReLU()), KGate(4, activation=nn.LeakyReLU()), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(4, 8), KGate(8, activation=nn.Tanh()), nn.GRU(8, 3, bidirectional=True)),
    ):  # fmt: skip
        shuffle_ks(network)
        with torch.no_grad():
            folded, gated = fold_gates(network)(x), network(x)
        pairs = zip(folded, gated, strict=True) if isinstance(folded, tuple) else [(folded, gated)]
        assert all(close(a, b) for a, b in pairs)
