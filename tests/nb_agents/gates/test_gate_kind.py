"""Gates of other kinds than the default one: a class with a formula, and everything else asks it for its values."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from torch import nn

from nb_agents import (
    Battery,
    ClampedKGate,
    FingerprintError,
    KGate,
    KGateCallback,
    KGatedPolicy,
    KTarget,
    fold_gates,
    insert_gates,
    named_gates,
    retrofit,
)
from nb_agents.export.onnx import DeterministicPolicy
from nb_agents.maml.actor import StackedActor
from tests.nb_agents.shared import Signed, move_gates, swapped

SCRIPT = Path(__file__).parents[3] / "docs" / "contributing" / "gate_kind.py"


def script() -> Any:
    """The documentation's example as a module, under a name by which pickle finds its class."""
    spec = importlib.util.spec_from_file_location("gate_kind_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ExponentialGate: Any = script().ExponentialGate


class Waves(KGate):
    """A gate in which k is no function of the value; its phi is a method that reads the gate."""

    def phi(self, k: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 0.5 * torch.cos(k * self.block_weight)


class Formless(KGate):
    pass


class Summing(KGate):
    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        return super().gate(k).sum()


class Failing(KGate):
    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        raise NotImplementedError("not written yet")


class NoNumber(KGate):
    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        return torch.log(k - 1)


class Closed(KGate):
    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        return torch.tanh(k)


class Fixed(KGate):
    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(k.detach())


KINDS = [ExponentialGate, Signed, Waves, ClampedKGate]
SLOPES = {
    KGate: lambda k: np.exp(-k) / (1 + np.exp(-k)) ** 2,
    ExponentialGate: lambda k: 0.5 * np.exp(k),
    Signed: lambda k: 0.5 / np.cosh(k / 2) ** 2,
    Waves: lambda k: -0.15 * np.sin(0.3 * k),
    ClampedKGate: lambda k: np.exp(-k) / (1 + np.exp(-k)) ** 2,
}
OBSERVATIONS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def model(kind: type[KGate] = ExponentialGate, **policy_kwargs: Any) -> PPO:
    kwargs = {"gate_class": kind, "net_arch": [16, 16], "block_size": 8} | policy_kwargs
    return PPO(KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, policy_kwargs=kwargs, seed=0, device="cpu")


def actions(any_model: Any) -> np.ndarray:
    return any_model.predict(OBSERVATIONS, deterministic=True)[0]  # type: ignore[no-any-return]


def test_the_example_runs(tmp_path: Path) -> None:
    assert len(SCRIPT.read_text().splitlines()) < 60
    script().main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"policy.onnx", "model.zip", "tasks.safetensors"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_is_m_times_phi_and_starts_at_its_own_k(kind: Any) -> None:
    gate = kind(6, block_size=4)
    assert gate.k.tolist() == pytest.approx([kind.k_start] * 3)
    torch.testing.assert_close(gate.gate(), torch.ones(6))
    move_gates(gate)
    phi = gate.phi(gate.k.detach())
    by_hand = gate.membership @ phi
    torch.testing.assert_close(gate.gate(), by_hand.clamp(max=1.0) if kind is ClampedKGate else by_hand)
    x = torch.randn(5, 6)
    torch.testing.assert_close(gate(x), x * gate.gate())


@pytest.mark.parametrize("kind", [KGate, *KINDS])
def test_the_k_target_draws_phi_by_its_slope(kind: Any) -> None:
    gate, k_target = kind(8, block_size=4).double(), KTarget(0.3, 0.1, task_difficulty=0.5)
    gate.regularizers.append(k_target)
    gate.k.data = torch.tensor([0.7, -0.2, 0.4], dtype=torch.float64)
    (gate(torch.zeros(1, 8, dtype=torch.float64)).sum()).backward()  # a task loss with zero gradient
    value, slope = gate.phi(gate.k.detach())[0].item(), SLOPES[kind](0.7)
    assert gate.slope(gate.k)[0].item() == pytest.approx(slope)
    level = 0.3 * (0.5 + 0.3 * 0.5)
    assert gate.k.grad.tolist() == pytest.approx([0.1 * 2 * (value - level) * slope, 0.0, 0.0])
    assert k_target([gate]).item() == pytest.approx((value - level) ** 2)


def test_the_k_target_acts_in_mamls_loops() -> None:
    policy = model(Signed, k_target_weight=0.2).policy.double()
    move_gates(policy)
    actor = StackedActor(policy)
    params = actor.get_vector()[None].clone()
    term = actor.k_target
    assert term.value(params).item() == pytest.approx(0.2 * policy.regularizer(policy.gates.values()).item())
    direction = torch.randn_like(params)
    ahead, behind = (params + sign * 1e-5 * direction for sign in (1, -1))
    by_differences = (term.value(ahead) - term.value(behind)) / 2e-5
    torch.testing.assert_close((term.gradient(params) * direction).sum(1), by_differences)
    by_differences = (term.gradient(ahead) - term.gradient(behind)) / 2e-5
    torch.testing.assert_close(term.hessian_product(params, direction), by_differences, atol=1e-7, rtol=1e-5)


ACCEPTED = "gate_class must be KGate or a subclass of it with a formula of its own, phi or gate, got .*"
PLAIN = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
TAKING = {
    "policy": lambda given: model(given),
    "insert_gates": lambda given: insert_gates(PLAIN, gate_class=given),
    "retrofit": lambda given: retrofit(PPO("MlpPolicy", "Pendulum-v1", device="cpu"), gate_class=given),
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Formless, "Formless'> without one"),
        (nn.ReLU, "nn.modules.activation.ReLU"),
        (KGate(3), r"KGate\("),
        ("KGate", "'KGate'"),
        (None, "None"),
        (Failing, "Failing'>, which fails with NotImplementedError: not written yet"),
        (Summing, r"Summing'>, which makes \(\(3,\), \(\)\) of 3"),
    ],
)
@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
def test_what_is_no_kind_is_refused_where_it_is_given(take: Any, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=ACCEPTED + message):
        take(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            NoNumber,
            r"finite and not 0 at the start, got .*NoNumber'>, which at its k_start of 0.0 is \[nan, nan, nan\]",
        ),
        (Closed, r"finite and not 0 at the start, got .*Closed'>, which at its k_start of 0.0 is \[0.0, 0.0, 0.0\]"),
        (Fixed, r"with a gradient, got .*Fixed'>, which at its k_start of 0.0 has None"),
    ],
)
@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
def test_a_formula_that_gives_no_usable_numbers_is_refused(take: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take(given)


def test_every_algorithm_takes_and_keeps_a_kind(algorithm: Any, tmp_path: Path) -> None:
    made = algorithm.make(policy_kwargs={"gate_class": Signed}).learn(32)
    assert {type(gate) for _, gate in named_gates(made.policy)} == {Signed}
    made.save(tmp_path / "model")
    made.policy.save(tmp_path / "policy")
    loaded = algorithm.cls.load(tmp_path / "model", device=algorithm.device).policy
    alone = type(made.policy).load(tmp_path / "policy", device=algorithm.device)
    for policy in (loaded, alone):
        assert {type(gate) for _, gate in named_gates(policy)} == {Signed}
        assert all(torch.equal(value, policy.state_dict()[name]) for name, value in made.policy.state_dict().items())
    folded = fold_gates(made).policy
    assert not list(named_gates(folded))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k_init", [None, -1.0])
def test_gates_are_inserted_neutral_and_folded_exactly(kind: Any, k_init: float | None) -> None:
    net, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(9, 3)
    gated = insert_gates(net, 4, gate_class=kind, k_init=k_init)
    torch.testing.assert_close(gated(x), net(x), atol=1e-6, rtol=1e-5)
    opened = insert_gates(net, 4, gate_class=kind, neutral=False)
    move_gates(opened)
    assert (opened(x) - net(x)).abs().max() > 0.01
    torch.testing.assert_close(fold_gates(opened)(x), opened(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_retrofitted_and_exported_with_a_kind(kind: Any) -> None:
    plain = PPO("MlpPolicy", "Pendulum-v1", n_steps=16, batch_size=16, seed=0, device="cpu")
    gated = retrofit(plain, 16, gate_class=kind)
    assert {type(gate) for gate in gated.policy.gates.values()} == {kind}
    np.testing.assert_allclose(actions(gated), actions(plain), atol=1e-6)
    move_gates(gated.policy)
    for network in (DeterministicPolicy(gated), DeterministicPolicy(fold_gates(gated))):
        assert not list(named_gates(network))
        np.testing.assert_allclose(network(torch.as_tensor(OBSERVATIONS)).detach(), actions(gated), atol=1e-5)


def test_a_battery_keeps_k_sets_of_its_kind_and_refuses_another_by_name(tmp_path: Path) -> None:
    made = model(Signed)
    battery = swapped(made, OBSERVATIONS)
    battery.save(tmp_path / "k.safetensors")
    assert list(Battery.load(tmp_path / "k.safetensors", made)) == ["easy", "hard"]
    with pytest.raises(FingerprintError, match="was written for gates of the kind Signed, not KGate"):
        Battery.load(tmp_path / "k.safetensors", model(KGate))


def test_files_of_the_default_kind_say_nothing_of_kinds(tmp_path: Path) -> None:
    """So they are what they were before there were any, and those of then are read as the default kind's."""
    headers = {}
    for kind in (KGate, ClampedKGate):
        battery = Battery(model(kind))
        battery.capture("task")
        battery.save(tmp_path / kind.__name__)
        content = (tmp_path / kind.__name__).read_bytes()
        headers[kind] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert headers[KGate].keys() == {"format", "architecture", "weights", "metadata", "digest"}
    assert headers[ClampedKGate]["gates"] == "ClampedKGate"
    with pytest.raises(FingerprintError, match="for gates of the kind KGate, not ClampedKGate"):
        Battery.load(tmp_path / "KGate", model(ClampedKGate))


@pytest.mark.parametrize("kind", KINDS)
def test_the_callback_logs_and_draws_what_the_gates_say(kind: Any, tmp_path: Path) -> None:
    made, callback = model(kind), KGateCallback()
    move_gates(made.policy)
    made.policy.requires_grad_(False)
    made.policy.value_net.requires_grad_(True)
    expected = torch.cat([gate.phi(gate.k) for gate in made.policy.gates.values()])
    made.learn(32, callback=callback, log_interval=1000)
    logged: dict[str, Any] = made.logger.name_to_value
    assert callback.history is not None
    np.testing.assert_allclose(callback.history.values, expected.expand(3, -1), rtol=1e-5)
    np.testing.assert_allclose([logged[f"gates/{name}"] for name in callback.history.names], expected, rtol=1e-5)
    callback.plot(tmp_path / "gates.svg")
    assert (tmp_path / "gates.svg").read_text().count("stroke-width: 2.5") >= 2


def test_gates_are_inserted_without_gradients_too() -> None:
    with torch.no_grad():
        gated = insert_gates(PLAIN, gate_class=Signed)
    x = torch.randn(5, 3)
    assert torch.equal(gated(x), PLAIN(x))
