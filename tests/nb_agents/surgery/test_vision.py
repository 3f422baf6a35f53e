"""The structures of vision networks: what is gated, what is folded, and what is left out by name."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from nb_agents.gates.film import FiLMGate
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.own_layers import answer
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.surgery import vision as v

PICTURE, ROWS = (4, 3, 8, 8), (4, 5, 8)


def stem(*parts: nn.Module, n: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *parts, *v.head(n))


NETWORKS: dict[str, tuple[nn.Module, tuple[int, ...], int, int]] = {
    "same padding": (stem(nn.ReLU(), v.SameConv(4, 6, 3, 2), nn.SiLU(), v.SameConv(6, 4, 3), nn.Tanh()), PICTURE, 3, 0),
    "squeeze and excite": (stem(nn.SiLU(), v.SqueezeExcite(4), nn.Conv2d(4, 4, 1), nn.SiLU()), PICTURE, 4, 0),
    "inverted residuals": (
        nn.Sequential(nn.Conv2d(3, 4, 3), v.InvertedResidual(4, 4), v.InvertedResidual(4, 6, 2), *v.head(6)),
        PICTURE,
        8,
        0,
    ),
    "ConvNeXt": (stem(v.ConvNeXtBlock(4), v.ConvNeXtBlock(4)), PICTURE, 2, 0),
    "DenseNet": (stem(v.DenseLayer(4), v.DenseLayer(8), nn.ReLU(), n=12), PICTURE, 5, 0),
    "ResNet": (stem(v.BasicBlock(4), v.BasicBlock(4)), PICTURE, 3, 1),
    "UNet": (v.UNet(), PICTURE, 3, 0),
    "ViT": (nn.Sequential(v.ViTBlock(), v.ViTBlock(), nn.Linear(8, 2)), ROWS, 2, 0),
    "activation in a normalization": (stem(v.NormAct(4), nn.Conv2d(4, 4, 1), nn.ReLU()), PICTURE, 2, 0),
    "standardised weights": (
        stem(nn.SiLU(), v.StandardisedConv(4, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 1)),
        PICTURE,
        1,
        1,
    ),
    "transformer": (v.encoder(), ROWS, 2, 0),
    "transformer within": (nn.Sequential(nn.Linear(8, 8), v.encoder("relu"), nn.Linear(8, 2)), ROWS, 2, 0),
}
"""A network, the shape of its input, and how many gates can be folded and cannot."""


@pytest.fixture(autouse=True)
def _one_path() -> Any:
    """Attention without torch's fused path, which rounds otherwise and which a gated layer cannot take."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def run(network: nn.Module, inputs: tuple[torch.Tensor, ...], mode: bool) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        return copy.deepcopy(network).train(mode)(*inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_gated_neutrally_and_folds_but_for_what_is_named(name: str) -> None:
    network, shape, n_folds, n_left = NETWORKS[name]
    torch.manual_seed(0)
    network = copy.deepcopy(network).double()
    inputs = (torch.randn(shape, dtype=torch.float64),)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gated = insert_gates(network, block_size=2, example_inputs=inputs, fixed=True, foldable=True)
    text = " ".join(str(each.message) for each in told)
    assert text.count("' (") == n_left, text
    assert len(list(named_gates(gated))) == n_folds
    for mode in (True, False):
        assert torch.equal(run(gated, inputs, mode), run(network, inputs, mode))
    for _, gate in named_gates(gated):
        nn.init.normal_(gate.k)
    folded = fold_gates(gated, example_inputs=inputs, fixed=True)
    assert not any(named_gates(folded))
    for mode in (True, False):
        y = run(gated, inputs, mode)
        assert not torch.allclose(y, run(network, inputs, mode))
        assert float((run(folded, inputs, mode) - y).abs().max() / y.abs().max()) < 1e-11


def test_a_layer_is_asked_what_its_weight_does() -> None:
    assert answer(v.SameConv(4, 6, 3, 2)) == (True, True, True)
    assert answer(v.StandardisedConv(4, 6, 3)) == (True, False, False)
    assert answer(v.Switched(3, 4)) == (True, False, True)  # with the switch at its other value
    assert answer(v.Keeping(3, 4)) == (False, False, False)


@pytest.mark.parametrize("layer", [v.StandardisedConv(4, 4, 3), v.Switched(4, 4), v.Keeping(4, 4)])
def test_a_layer_that_uses_its_weight_otherwise_is_refused_by_name(layer: nn.Module) -> None:
    first = nn.Conv2d(3, 4, 3) if isinstance(layer, nn.Conv2d) else nn.Linear(3, 4)
    network = nn.Sequential(first, nn.Tanh(), layer)
    with pytest.raises(FoldError, match=rf"gate '1': 2 \({type(layer).__name__}\), which does not use its weight"):
        fold_gates(insert_gates(network))


def test_what_decides_has_to_be_promised_to_stay() -> None:
    network, x = stem(v.InvertedResidual(4, 6, 2), n=6), torch.randn(PICTURE)
    network[1].times = 1  # type: ignore[union-attr]
    gated = insert_gates(network, block_size=2, example_inputs=(x,))
    with pytest.raises(ValueError, match="fixed=True needs"):
        fold_gates(gated, fixed=True)
    with pytest.raises(ValueError, match="fixed=True needs example_inputs"):
        insert_gates(network, fixed=True)
    with pytest.raises(TypeError, match="foldable must be"):
        insert_gates(network, foldable="yes")  # type: ignore[arg-type]
    assert not any(named_gates(fold_gates(gated, example_inputs=(x,), fixed=True)))


def test_a_transformer_s_gates_shift_and_start_elsewhere_too() -> None:
    torch.manual_seed(0)
    network, x = v.encoder().double().eval(), torch.randn(ROWS, dtype=torch.float64)
    divided = insert_gates(network, block_size=4, gate_max=None)
    torch.testing.assert_close(divided(x), network(x))
    gated = insert_gates(network, block_size=4, gate_class=FiLMGate)
    for _, gate in named_gates(gated):
        nn.init.normal_(gate.k)
    torch.testing.assert_close(fold_gates(gated)(x), gated(x))


def test_a_folded_transformer_takes_the_fused_path_again() -> None:
    folded = fold_gates(insert_gates(v.encoder("relu")))
    assert [layer.activation_relu_or_gelu for layer in folded.layers] == [1, 1]  # type: ignore[union-attr, attr-defined]


def test_torch_s_decoder_is_left_out_by_name() -> None:
    network = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, activation=nn.GELU())
    assert not isinstance(copy.deepcopy(network).activation, nn.GELU)  # which is why
    with pytest.raises(ValueError, match="'activation' got no gate: torch's decoder loses a module"):
        insert_gates(network)


def test_a_transformer_whose_layer_is_read_elsewhere_is_refused() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer.linear2(torch.ones_like(x).repeat(1, 1, 2)) + self.layer(x)

    gated = insert_gates(Reads())
    assert isinstance(gated.layer.activation, KGate)  # type: ignore[union-attr]
    with pytest.raises(FoldError, match=r"gate 'layer\.activation': parts of its layer are called apart from it"):
        fold_gates(gated)


def test_products_in_place_are_not_followed() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            p, q = torch.tanh(self.a(x)), torch.tanh(self.b(x))
            p.mul_(q)
            return self.c(p)

    with pytest.raises(FoldError, match="mul_"):
        fold_gates(insert_gates(Product()))
