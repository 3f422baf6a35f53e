from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.policies.placing import gate_sequential


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_the_papers_nb_gate_is_one_sigmoid() -> None:
    gate = KGate(5, block_size=None, gate_max=None, k_init=0.7)
    h = torch.randn(3, 5)
    assert gate.k.shape == (1,)
    torch.testing.assert_close(gate(h), h * sigmoid(0.7))


def test_the_papers_nb_pro_gate_adds_the_blocks_and_the_last_block_may_be_short() -> None:
    gate = KGate(37, block_size=16, block_weight=0.3, gate_max=None)
    k = [0.1, -0.4, 0.9, 2.0]
    gate.k.data = torch.tensor(k)
    expected = [sigmoid(k[0]) + 0.3 * sigmoid(k[1 + unit // 16]) for unit in range(37)]
    torch.testing.assert_close(gate(torch.ones(1, 37))[0], torch.tensor(expected))


def test_a_gate_with_a_maximum_is_the_papers_gate_scaled() -> None:
    k = torch.randn(4)
    for block_size in (16, None):
        scaled, papers = KGate(37, block_size=block_size, gate_max=3.0), KGate(37, block_size=block_size, gate_max=None)
        factor = 3.0 if block_size is None else 3.0 / 1.3
        for gate in (scaled, papers):
            gate.k.data = k[: gate.k.numel()].clone()
        torch.testing.assert_close(scaled.gate(), factor * papers.gate())
        assert scaled.gate(torch.full_like(scaled.k, 80.0)).unique().tolist() == [3.0]


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block_size", [None, 1, 16])
@pytest.mark.parametrize("block_weight", [0.0, 0.01, 0.1, 0.3, 0.7, 1.0, 1.7, 7.0])
def test_a_new_gate_is_exactly_one(dtype: torch.dtype, block_size: int | None, block_weight: float) -> None:
    gate = KGate(37, block_size=block_size, block_weight=block_weight, activation=nn.Tanh()).to(dtype)
    assert gate.gate().dtype == dtype
    assert gate.gate().eq(1.0).all()
    x = torch.randn(3, 37, dtype=dtype)
    assert torch.equal(gate(x), torch.tanh(x))
    assert gate.membership.sum(dim=1).eq(2.0).all()


@pytest.mark.parametrize("block_size", [None, 16])
@pytest.mark.parametrize("gate_max", [0.5, 1.0, 2.5, 10.0])
def test_a_new_gate_is_exactly_half_its_maximum(gate_max: float, block_size: int | None) -> None:
    gate = KGate(37, block_size=block_size, gate_max=gate_max)
    assert gate.gate().eq(gate_max / 2).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversions_leave_the_papers_gate_as_it_is(dtype: torch.dtype) -> None:
    gate = KGate(37, gate_max=None)
    before = gate.membership.to(dtype)
    assert torch.equal(gate.to(dtype).membership, before)
    assert before[0].tolist() == [1.0, torch.tensor(0.3).to(dtype).item(), 0.0, 0.0]


def test_the_constant_matrix_comes_back_with_the_memory() -> None:
    gate = KGate(37)
    before = gate.membership.clone()
    assert torch.equal(gate.to("meta").to_empty(device="cpu").membership, before)


def test_only_a_maximum_is_part_of_the_text() -> None:
    """Batteries know a network by this text among others: those of the paper's gates from before stay valid."""
    assert repr(KGate(4, gate_max=None)) == "KGate(\n  4, block_size=16, spatial_dims=0\n  (activation): Identity()\n)"
    assert KGate(4).extra_repr() == "4, block_size=16, spatial_dims=0, gate_max=2.0"


@pytest.mark.parametrize(("n_units", "block_size", "n_k"), [(64, 16, 5), (64, None, 1), (64, 1, 65), (64, 100, 2)])
def test_number_of_ks(n_units: int, block_size: int | None, n_k: int) -> None:
    assert KGate(n_units, block_size=block_size).k.numel() == n_k


def test_convolutions_are_gated_per_channel() -> None:
    gate = KGate(6, block_size=4, spatial_dims=2)
    gate.k.data = torch.randn(3)
    image = torch.randn(2, 6, 3, 5)
    flat = KGate(6, block_size=4)
    flat.k.data = gate.k.data
    torch.testing.assert_close(gate(image), flat(image.movedim(1, -1)).movedim(-1, 1))
    torch.testing.assert_close(gate(image[0]), gate(image)[0])


@pytest.mark.parametrize("block_size", [None, 2])
def test_gradient_by_finite_differences(block_size: int | None) -> None:
    gate = KGate(5, block_size=block_size, activation=nn.Tanh()).double()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)

    def function(k: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(gate, {"k": k}, (x,))

    assert torch.autograd.gradcheck(function, (gate.k.detach().clone().requires_grad_(), x))
    assert torch.autograd.gradgradcheck(function, (gate.k.detach().clone().requires_grad_(), x))


def step(gate: KGate, **implementation: bool) -> None:
    gate.k.grad = torch.ones_like(gate.k)
    torch.optim.SGD([gate.k], lr=0.5, **implementation).step()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda gate: step(gate, fused=True), id="fused step"),
        pytest.param(lambda gate: step(gate, foreach=True), id="foreach step"),
        pytest.param(lambda gate: step(gate, foreach=False), id="step"),
        pytest.param(lambda gate: gate.k.data.add_(0.7), id="in place through data"),
        pytest.param(lambda gate: gate.k.data.__setitem__(0, 0.7), id="an element"),
        pytest.param(lambda gate: setattr(gate.k, "data", torch.tensor([0.1, -0.4, 0.9])), id="other data"),
        pytest.param(lambda gate: gate.k.detach().numpy().__iadd__(0.7), id="through NumPy"),
        pytest.param(lambda gate: gate.load_state_dict({"k": torch.tensor([0.1, -0.4, 0.9])}), id="state dict"),
        pytest.param(lambda gate: setattr(gate, "k", nn.Parameter(torch.tensor([0.1, -0.4, 0.9]))), id="another k"),
        pytest.param(lambda gate: gate.double(), id="another type"),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_a_gate_follows_its_k_whatever_has_changed_it(change: Any, grad: bool) -> None:
    """Some of these leave the counter of the changes in place as it was."""
    gate, x = KGate(5, block_size=3, activation=nn.ReLU()), torch.rand(2, 5, requires_grad=True)
    with torch.set_grad_enabled(grad):
        for change_k in (lambda gate: None, change):
            with torch.no_grad():
                change_k(gate)
            out = gate(x.to(gate.k.dtype))
            layer, *blocks = (2.0 / 1.3 * sigmoid(value) for value in gate.k.tolist())
            expected = torch.tensor([layer + 0.3 * blocks[unit // 3] for unit in range(5)])
            torch.testing.assert_close(out, x.to(out) * expected.to(out))


def test_gates_take_the_place_of_activations_and_leave_names_alone() -> None:
    net = nn.Sequential(
        nn.Linear(3, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2), nn.Tanh()
    )
    names = list(net.state_dict())
    gate_sequential(net, gate_last=False, block_size=4)
    assert [(name, gate.n_units) for name, gate in named_gates(net)] == [("1", 8), ("4", 4)]
    assert [name for name in net.state_dict() if not name.endswith(".k")] == names
    gate_sequential(net, gate_last=False, block_size=4)
    assert len(list(named_gates(net))) == 2, "gating twice changes nothing"


def test_the_output_activation_is_gated_only_where_it_is_hidden() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
    gate_sequential(net, gate_last=False)
    assert not list(named_gates(net))
    gate_sequential(net, gate_last=True)
    assert len(list(named_gates(net))) == 1


def test_a_gate_stands_behind_the_normalization_that_would_undo_it() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
    gate_sequential(net, gate_last=False, block_size=None)
    (gate,) = (gate for _, gate in named_gates(net))
    assert isinstance(gate.activation, nn.LayerNorm)
    before = net(torch.ones(1, 3))
    gate.k.data += 1.0
    assert not torch.equal(net(torch.ones(1, 3)), before)


class Recorder:
    """Stands for a regulariser: counts how often it was asked to add its gradient."""

    calls = 0

    def add_gradient(self, gate: KGate) -> None:
        Recorder.calls += 1


@pytest.mark.parametrize(
    "copied",
    [lambda gate: gate, copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate)), lambda gate: gate.double()],
    ids=["itself", "deepcopy", "pickle", "to"],
)
def test_the_regularizer_is_called_once_per_backward_whatever_was_done_to_the_gate(copied: Any) -> None:
    gate = KGate(4)
    gate.regularizers = [Recorder()]
    gate = copied(gate)
    Recorder.calls = 0
    x = torch.ones(2, 4, dtype=gate.k.dtype)
    (gate(x).sum() + gate(x).square().sum()).backward()
    assert Recorder.calls == 1


def test_a_gate_in_a_file_of_an_earlier_version_keeps_its_regularizer() -> None:
    state = dict(vars(KGate(4)), regularizer=(Recorder(),))
    del state["regularizers"]
    gate = KGate.__new__(KGate)
    gate.__setstate__(pickle.loads(pickle.dumps(state)))
    Recorder.calls = 0
    gate(torch.ones(1, 4)).sum().backward()
    assert Recorder.calls == 1


def assign(gate: KGate) -> None:
    gate.load_state_dict({"k": torch.zeros(2)}, assign=True)


def assign_itself(gate: KGate) -> None:
    gate.k = gate.k


def empty(gate: KGate) -> None:
    gate.to("meta").to_empty(device="cpu")
    gate.load_state_dict({"k": torch.zeros(2)})


@pytest.mark.parametrize("replace", [assign, assign_itself, empty, copy.copy])
def test_the_regularizer_survives_a_replaced_parameter(replace: Any) -> None:
    gate = KGate(4)
    gate.regularizers = [Recorder()]
    replace(gate)
    Recorder.calls = 0
    gate(torch.ones(1, 4)).sum().backward()
    assert Recorder.calls == 1


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"block_size": 0}, ValueError, "block_size must be an integer >= 1 or None, got 0"),
        ({"block_size": 1.5}, TypeError, "block_size"),
        ({"block_size": True}, TypeError, "block_size"),
        ({"block_weight": -0.1}, ValueError, "block_weight must be a finite number >= 0, got -0.1"),
        ({"block_weight": "a"}, TypeError, "block_weight must be a number, got 'a'"),
        ({"k_init": math.nan}, ValueError, "k_init must be any finite number, got nan"),
        ({"k_init": 10**400}, ValueError, "k_init must be any finite number"),
        ({"k_init": 1e39}, ValueError, r"k_init must be finite in float32, got 1e\+39"),
        ({"block_weight": 1e300}, ValueError, "block_weight must be finite in float32"),
        ({"gate_max": 1e300}, ValueError, "gate_max must be finite in float32"),
        ({"gate_max": 0.0}, ValueError, "gate_max must be a finite number > 0 or None, got 0.0"),
        ({"gate_max": -2}, ValueError, "gate_max must be a finite number > 0 or None, got -2"),
        ({"gate_max": math.nan}, ValueError, "gate_max must be any finite number, got nan"),
        ({"gate_max": "2"}, TypeError, "gate_max must be a number, got '2'"),
        ({"n_units": 0}, ValueError, "n_units must be >= 1, got 0"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KGate(**({"n_units": 4} | kwargs))
