"""Gates into any torch module and out of it again."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx, nn

from nb_agents.gates.gate import named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from tests.nb_agents.surgery.networks import NETWORKS, SKIPPED, VECTOR, Functional, Residual, close, mlp, shuffle_ks


@pytest.fixture(params=list(NETWORKS))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor, int]:
    """A network in evaluation mode with trained-looking statistics, a batch, and how many gates it should get."""
    make, shape, n_gates = NETWORKS[request.param]
    torch.manual_seed(1)
    network = make()
    network(torch.randn(shape))  # moves the running statistics away from 0 and 1
    return network.eval(), torch.randn(shape), n_gates


@torch.no_grad()
def test_every_hidden_activation_is_gated_and_the_module_left_alone(case: tuple[nn.Module, torch.Tensor, int]) -> None:
    network, x, n_gates = case
    before, output = copy.deepcopy(network.state_dict()), network(x)
    gated = insert_gates(network, block_size=4)
    gates = dict(named_gates(gated))
    assert len(gates) == n_gates
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert torch.equal(network(x), output)
    assert not any(named_gates(network))
    names = {name.replace(".activation.", ".") for name in gated.state_dict() if not name.endswith(".k")}
    assert names == set(before), "every other entry keeps its name"
    in_place = not any(name.endswith("_gate") for name in gates)
    assert (type(gated) is type(network)) == in_place
    # Gates that are wide open (σ = 1, no blocks) change nothing; that shows that they stand behind the activations.
    opened = insert_gates(network, neutral=False, block_size=None, gate_max=1.0, k_init=100.0)
    assert torch.equal(opened(x), output)


def test_every_gate_matters_and_learns(case: tuple[nn.Module, torch.Tensor, int]) -> None:
    network, x, _ = case
    gated = insert_gates(network, block_size=4)
    gated(x).square().sum().backward()  # type: ignore[no-untyped-call]
    for name, gate in named_gates(gated):
        assert gate.k.grad is not None, name
        assert gate.k.grad.ne(0).all(), name


@torch.no_grad()
def test_neutral_to_the_last_bit_and_folds_back(case: tuple[nn.Module, torch.Tensor, int]) -> None:
    network, x, _ = case
    exclude = (SKIPPED,) if isinstance(network, Residual) else ()
    neutral = insert_gates(network, block_size=4, exclude=exclude)
    assert all(gate.gate().eq(1).all() for _, gate in named_gates(neutral))
    assert torch.equal(neutral(x), network(x))
    folded = fold_gates(neutral)
    assert {name: value.tolist() for name, value in folded.state_dict().items()} == {
        name: value.tolist() for name, value in network.state_dict().items()
    }
    rounded = insert_gates(network, block_size=4, exclude=exclude, k_init=0.25)
    assert close(rounded(x), network(x))


@torch.no_grad()
def test_folded_computes_the_same(case: tuple[nn.Module, torch.Tensor, int]) -> None:
    network, x, _ = case
    exclude = (SKIPPED,) if isinstance(network, Residual) else ()
    gated = insert_gates(network, block_size=3, exclude=exclude)
    shuffle_ks(gated)
    before = copy.deepcopy(gated.state_dict())
    folded = fold_gates(gated)
    assert close(folded(x), gated(x))
    assert not close(folded(x), network(x))
    assert set(folded.state_dict()) == set(network.state_dict())
    assert not any(named_gates(folded))
    assert type(folded) is type(network) or isinstance(folded, fx.GraphModule)
    assert all(torch.equal(gated.state_dict()[name], value) for name, value in before.items())
    assert close(copy.deepcopy(folded)(x), gated(x))


def test_custom_activation() -> None:
    class Sine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    network = nn.Sequential(nn.Linear(4, 8), Sine(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="no hidden activation to gate"):
        insert_gates(network)
    gated = insert_gates(network, activations=(Sine,))
    assert [name for name, _ in named_gates(gated)] == ["1"]


def test_own_submodules_that_are_called_gates_stay() -> None:
    network = Functional()
    network.relu_gate = nn.Linear(3, 3)
    gated = insert_gates(network)
    assert [name for name, _ in named_gates(gated)] == ["relu_gate_", "tanh_gate"]


def test_double_precision() -> None:
    network, x = mlp().double().eval(), torch.randn(VECTOR, dtype=torch.float64)
    gated = insert_gates(network, block_size=4)
    shuffle_ks(gated)
    torch.testing.assert_close(fold_gates(gated)(x), gated(x), rtol=1e-12, atol=1e-14)


def test_bad_arguments() -> None:
    network = mlp()
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got list"):
        insert_gates([])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got int"):
        fold_gates(3)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="block_size must be an integer >= 1 or None, got 0"):
        insert_gates(network, block_size=0)
    with pytest.raises(ValueError, match="block_weight must be a finite number >= 0, got -1"):
        insert_gates(network, block_weight=-1)
    with pytest.raises(ValueError, match="k_init must be any finite number, got nan"):
        insert_gates(network, k_init=float("nan"))
    with pytest.raises(TypeError, match="neutral must be True or False, got 'yes'"):
        insert_gates(network, neutral="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="exclude must be a collection of names, got '1'"):
        insert_gates(network, exclude="1")
    with pytest.raises(TypeError, match=r"activations must be classes of modules, got \(ReLU\(\),\)"):
        insert_gates(network, activations=(nn.ReLU(),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"k_init must leave the gates open: the weights behind \['1', '5'\]"):
        insert_gates(network, k_init=-200.0)
    with pytest.raises(ValueError, match=r"exclude must name gates among \['1', '5'\], got \['7'\]"):
        insert_gates(network, exclude=("7",))
    with pytest.raises(ValueError, match=r"without gates, but has \['1', '5'\]"):
        insert_gates(insert_gates(network))
    with pytest.raises(ValueError, match="no gates to fold in Sequential"):
        fold_gates(network)
    with pytest.raises(ValueError, match="no hidden activation"):
        insert_gates(nn.Sequential(nn.Linear(4, 2), nn.Tanh()))
    with pytest.raises(ValueError, match="cannot tell the number of units behind 'gelu_gate'"):
        insert_gates(Transposing())


class Transposing(nn.Module):
    """Moves the units to where no rule follows them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.gelu(self.inner(x).permute(1, 0)).permute(1, 0))
