"""Gates that shift as well as scale: FiLM, to be compared with gates that scale alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from torch import nn

from nb_agents import (
    FiLMGate,
    FoldError,
    KGateCallback,
    KGatedPolicy,
    KGatedSACPolicy,
    SignedKGate,
    fold_gates,
    insert_gates,
    named_gates,
    retrofit,
)
from nb_agents.export.onnx import DeterministicPolicy, export_onnx
from tests.nb_agents.shared import move_gates, swapped

OBSERVATIONS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def model(**policy_kwargs: Any) -> PPO:
    kwargs = {"gate_class": FiLMGate, "net_arch": [16, 16], "block_size": 8} | policy_kwargs
    return PPO(KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, policy_kwargs=kwargs, seed=0, device="cpu")


def actions(any_model: Any) -> np.ndarray:
    return any_model.predict(OBSERVATIONS, deterministic=True)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("block_size", [None, 2])
@pytest.mark.parametrize("gate_max", [2.0, None])
def test_scales_come_first_and_both_are_spread_over_the_units_as_a_signed_gate_is(
    block_size: int | None, gate_max: float | None
) -> None:
    film = FiLMGate(3, block_size=block_size, gate_max=gate_max, activation=nn.Tanh())
    signed = SignedKGate(3, block_size=block_size, gate_max=gate_max)
    n = len(signed.k)
    assert film.k.shape == (2 * n,)
    assert film.k.tolist() == [*signed.k.tolist(), *[0.0] * n]
    scale, shift = torch.linspace(-1.0, 2.0, n), torch.linspace(0.5, -1.5, n)
    film.k.data = torch.cat([scale, shift])
    x = torch.randn(5, 3)
    torch.testing.assert_close(film(x), torch.tanh(x) * signed.gate(scale) + signed.gate(shift))
    rows = torch.randn(5, 2 * n)
    each = torch.stack([film.gate(k) * torch.tanh(row) + film.shift(k) for row, k in zip(x, rows, strict=True)])
    torch.testing.assert_close(film.by_rows(x, rows), each)


def test_a_new_gate_is_neutral_and_its_k_init_is_that_of_the_scales() -> None:
    gate, x = FiLMGate(6, block_size=4), torch.randn(5, 6)
    torch.testing.assert_close(gate(x), x, rtol=1e-6, atol=1e-6)
    half = FiLMGate(6, block_size=4, k_init=0.5)
    assert half.shift().eq(0.0).all()
    torch.testing.assert_close(half.gate(), SignedKGate(6, block_size=4, k_init=0.5).gate())


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_shifts_fold_into_the_bias_behind(activation: type[nn.Module]) -> None:
    x = torch.randn(9, 3)
    net = nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 2))
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        gated = insert_gates(net, 4, gate_class=FiLMGate).to(dtype)
        torch.testing.assert_close(gated(x.to(dtype)), net.to(dtype)(x.to(dtype)), atol=1e-6, rtol=1e-6)
        move_gates(gated)
        folded = fold_gates(gated)
        torch.testing.assert_close(folded(x.to(dtype)), gated(x.to(dtype)), atol=tolerance, rtol=tolerance)
        before, after = (n.state_dict() for n in (gated, folded))
        assert torch.equal(before["0.weight"], after["0.weight"]), "nothing goes into the layer before a shift"


def test_convolutions_without_borders_and_flattened_channels_take_shifts_too() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    )
    x = torch.randn(4, 2, 8, 8)
    gated = insert_gates(net, 2, gate_class=FiLMGate)
    move_gates(gated)
    torch.testing.assert_close(fold_gates(gated, example_inputs=(x,))(x), gated(x), atol=1e-5, rtol=1e-5)


class Doubled(nn.Module):
    """Twice the gated values, or their sum with others of the same gate, before a layer."""

    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.first, self.act, self.last, self.both = nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2), both

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.first(x))
        return self.last(h + h if self.both else 2.0 * h)  # type: ignore[no-any-return]


def two_layers(*between: nn.Module, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), *between, nn.Linear(8, 2, bias=bias))


def convolutions(**kwargs: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, **kwargs))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (two_layers(nn.Dropout(0.1)), "gate '1': Dropout of values with a shift comes before a linear map"),
        (two_layers(nn.ReLU()), "gate '1': ReLU of values with a shift comes before a linear map"),
        (two_layers(bias=False), "gate '1': 2 cannot take a shift into a bias of its own"),
        (convolutions(padding=1), "gate '1': 2 cannot take a shift into a bias of its own"),
        (convolutions(groups=2), "gate '1': 2 cannot take a shift into a bias of its own"),
        (Doubled(both=False), r"gate 'act': mul\(\) of shifted values comes before a linear map"),
        (Doubled(both=True), r"gate 'act': add\(\) of shifted values comes before a linear map"),
    ],
)
def test_what_cannot_take_a_shift_is_refused_by_name(net: nn.Module, message: str) -> None:
    gated = insert_gates(net, 4, gate_class=FiLMGate)
    for name, gate in list(named_gates(gated)):
        if name not in ("1", "act"):
            gated.set_submodule(name, gate.activation)
    fold_gates(gated)  # there is no shift yet
    (gate,) = (gate for _, gate in named_gates(gated))
    gate.k.data[len(gate.k) // 2 :] = 0.5
    with pytest.raises(FoldError, match=message):
        fold_gates(gated)


def test_a_bias_that_another_layer_shares_takes_no_shift() -> None:
    net: Any = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    net[4].bias = net[2].bias
    gated = insert_gates(net, 4, gate_class=FiLMGate)
    move_gates(gated)
    with pytest.raises(FoldError, match="gate '1': 2 cannot take a shift into a bias of its own"):
        fold_gates(gated)


@pytest.mark.parametrize("retrofitted", [False, True])
def test_a_policy_learns_folds_exports_and_is_kept(retrofitted: bool, tmp_path: Path) -> None:
    if retrofitted:
        plain = PPO("MlpPolicy", "Pendulum-v1", n_steps=16, batch_size=16, seed=0, device="cpu")
        made = retrofit(plain, 16, gate_class=FiLMGate)
        np.testing.assert_allclose(actions(made), actions(plain), atol=1e-6)
    else:
        made = model()
    made.learn(16)
    shifts = [gate.k.detach().chunk(2)[1] for gate in made.policy.gates.values()]  # type: ignore[operator]
    assert all((shift != 0.0).all() for shift in shifts)
    move_gates(made.policy)
    folded = fold_gates(made)
    np.testing.assert_allclose(actions(folded), actions(made), atol=1e-5)
    module = DeterministicPolicy(made)
    assert not list(named_gates(module))
    np.testing.assert_allclose(module(torch.as_tensor(OBSERVATIONS)).detach(), actions(made), atol=1e-5)
    made.save(tmp_path / "model.zip")
    assert np.array_equal(actions(PPO.load(tmp_path / "model.zip", device="cpu")), actions(made))
    swapped(made, OBSERVATIONS)


def test_an_actor_with_a_squashed_gaussian_folds_and_one_with_state_dependent_noise_does_not() -> None:
    made = SAC(KGatedSACPolicy, "Pendulum-v1", policy_kwargs={"gate_class": FiLMGate}, seed=0, device="cpu")
    move_gates(made.policy)
    np.testing.assert_allclose(actions(fold_gates(made)), actions(made), atol=1e-5)
    noisy = SAC(
        KGatedSACPolicy, "Pendulum-v1", policy_kwargs={"gate_class": FiLMGate}, use_sde=True, seed=0, device="cpu"
    )
    move_gates(noisy.policy)
    with pytest.raises(FoldError, match="explore cannot take a shift into a bias of its own"):
        fold_gates(noisy)


def test_what_cannot_be_folded_is_exported_with_its_gates(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made = SAC(
        KGatedSACPolicy,
        "Pendulum-v1",
        policy_kwargs={"gate_class": FiLMGate, "net_arch": [16, 16]},
        use_sde=True,
        seed=0,
        device="cpu",
    )
    move_gates(made.policy)
    export_onnx(made, tmp_path / "policy.onnx")
    (acted,) = onnxruntime.InferenceSession(tmp_path / "policy.onnx").run(None, {"obs": OBSERVATIONS})
    np.testing.assert_allclose(acted, actions(made), atol=1e-5)


def test_the_callback_names_what_shifts(tmp_path: Path) -> None:
    made, callback = model(block_size=16), KGateCallback()
    made.learn(16, callback=callback)
    assert callback.history is not None
    names = ["layer_0", "layer_0_block_0", "layer_0_shift", "layer_0_shift_block_0"]
    assert list(callback.history.names) == [*names, *(name.replace("0", "1", 1) for name in names)]
    callback.plot(tmp_path / "gates.svg")
    assert (tmp_path / "gates.svg").read_text().count("stroke-width: 2.5") >= 2
