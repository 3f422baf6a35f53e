"""Gates into any torch module and out of it again."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx, nn
from torch.nn.utils.prune import random_unstructured

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.weights import FoldError


class Functional(nn.Module):
    """Activations as functions, a functional dropout, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(14, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(x))
        z = F.dropout(torch.tanh(self.second(h)), 0.5, training=self.training)
        return torch.tanh(self.out(torch.cat([h, z], -1)))


class Block(nn.Module):
    """A residual block as torchvision builds it: one ReLU, called twice."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Conv2d(n_in, n_out, 1, stride) if n_in != n_out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Residual(nn.Module):
    """A small ResNet; only the gate between its blocks has a skip around the next linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.layers = nn.Sequential(Block(8, 12, 2), Block(12, 12))
        self.pool, self.head = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.layers(self.stem(x))), 1))


class Branching(nn.Module):
    """Control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(-h if h.sum() > 0 else h)


class Untraceable(Branching):
    """The same in a way that `torch.fx` cannot follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return self.head(-h if float(h.sum()) > 1e9 else h)


class Reshaping(nn.Module):
    """Reshapes and pools by hand, in the ways of many tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.grouped = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=4)
        self.flat, self.pooled, self.out = nn.Linear(8 * 8 * 8, 7), nn.Linear(8, 7), nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.max_pool2d(F.relu(self.grouped(0.5 * F.relu(self.conv(x)))), 2)
        a, b = self.flat(h.view(x.size(0), -1)), self.pooled(h.mean(dim=(2, 3)))
        return self.out(F.silu(a + b))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 10), nn.Tanh(), nn.Dropout(0.1), nn.Linear(10, 7), nn.LayerNorm(7), nn.PReLU(), nn.Linear(7, 2),
        nn.Tanh(),
    )  # fmt: skip


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=4), nn.ELU(),
        nn.ConvTranspose2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9 * 9, 9), nn.GELU(), nn.Linear(9, 2),
    )  # fmt: skip


def one_activation_in_two_places() -> nn.Module:
    activation = nn.ReLU()
    return nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 8), activation, nn.Linear(8, 1))


def normalized_behind() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2))


VECTOR, IMAGE = (5, 4), (5, 3, 20, 20)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (mlp, VECTOR, 2),
    "cnn": (cnn, IMAGE, 4),
    "shared activation": (one_activation_in_two_places, VECTOR, 2),
    "normalized behind": (normalized_behind, VECTOR, 1),
    "functional": (Functional, VECTOR, 2),
    "reshaping": (Reshaping, IMAGE, 3),
    "residual": (Residual, IMAGE, 5),
}
SKIPPED = "layers_0_relu_1_gate"


@pytest.fixture(params=list(NETWORKS))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor, int]:
    """A network in evaluation mode with trained-looking statistics, a batch, and how many gates it should get."""
    make, shape, n_gates = NETWORKS[request.param]
    torch.manual_seed(1)
    network = make()
    network(torch.randn(shape))  # moves the running statistics away from 0 and 1
    return network.eval(), torch.randn(shape), n_gates


def shuffle_ks(network: nn.Module) -> None:
    with torch.no_grad():
        for _, gate in named_gates(network):
            gate.k.normal_()


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 2e-6 * b.abs().max())


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
