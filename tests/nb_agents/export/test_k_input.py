"""One file for all tasks: k-sets as an input of the exported policy, beside `predict` with each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common import vec_env

from nb_agents import (
    Battery,
    ClampedKGate,
    DeterministicPolicy,
    FiLMGate,
    KGate,
    KGatedPolicy,
    SignedKGate,
    export_onnx,
    named_gates,
)
from nb_gym.wrappers import ContextObservation
from nb_runtime import Policy
from tests.nb_agents.export.models import CASES, TORQUE, VECTOR, batch, gated, scatter
from tests.nb_agents.export.test_student import make as make_student
from tests.nb_agents.shared import Spaces, WithSkip

N = 12
NAMES = ["first", "second", "third"]
ROWS = NAMES * (N // 3)


def battery_of(model: Any) -> Battery:
    """Three k-sets far from each other, none of them the model's own."""
    battery, generator = Battery(model), torch.Generator().manual_seed(4)
    for name in NAMES:
        battery.add(name, 2.0 * torch.randn(battery.n_k, generator=generator))
    return battery


def wanted(model: Any, battery: Battery, obs: Any) -> dict[str, np.ndarray]:
    """What `predict` answers by each k-set, and with one per row."""
    own = Battery(model)
    own.capture("own")
    actions = {}
    for name in battery:
        battery.apply(name)
        actions[name] = model.predict(obs, deterministic=True)[0]
    own.apply("own")
    with battery.per_row(ROWS):
        actions["rows"] = model.predict(obs, deterministic=True)[0]
    return actions


def asked(module: DeterministicPolicy, k: torch.Tensor, obs: Any) -> np.ndarray:
    parts = obs.values() if isinstance(obs, dict) else [obs]
    with torch.no_grad():
        actions: np.ndarray = module(*map(torch.as_tensor, parts), k).numpy()
    return actions


def check_module(model: Any, obs: Any) -> None:
    battery = battery_of(model)
    actions = wanted(model, battery, obs)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    module = DeterministicPolicy(model, k="input")
    assert [*module.inputs][-1] == module.k_input == "k"
    for name in NAMES:
        found = asked(module, battery[name].expand(N, -1), obs)
        np.testing.assert_allclose(found, actions[name], rtol=1e-5, atol=1e-5)
    rows = asked(module, torch.stack([battery[name] for name in ROWS]), obs)
    np.testing.assert_allclose(rows, actions["rows"], rtol=1e-5, atol=1e-5)
    assert all(torch.equal(model.policy.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", CASES)
def test_a_file_acts_by_each_k_set_as_predict_does(name: str, tmp_path: Path) -> None:
    model, observation_space, action_space = gated(name)
    battery, obs = battery_of(model), batch(observation_space, N)
    battery.save(tmp_path / "tasks.safetensors")
    export_onnx(model, tmp_path / "policy.onnx", k="input")
    actions = wanted(model, battery, obs)
    policy = Policy(tmp_path / "policy.onnx", tmp_path / "tasks.safetensors")
    for each in NAMES:
        policy.apply(each)
        found = policy.predict(obs)
        assert found.dtype == action_space.dtype
        np.testing.assert_allclose(found, actions[each], rtol=1e-5, atol=1e-5)
        one = {key: part[0] for key, part in obs.items()} if isinstance(obs, dict) else obs[0]
        np.testing.assert_allclose(policy.predict(one), actions[each][0], rtol=1e-5, atol=1e-5)
    policy.apply(ROWS)
    np.testing.assert_allclose(policy.predict(obs), actions["rows"], rtol=1e-5, atol=1e-5)
    assert name == "DQN image" or len({actions[each].tobytes() for each in NAMES}) > 1, "k-sets make a difference"


def test_the_module_takes_every_algorithm_without_recurrence(algorithm: Any) -> None:
    model = algorithm.make()
    scatter(model)
    if hasattr(model.policy, "lstm_actor"):
        with pytest.raises(ValueError, match="a recurrent policy has a state besides the observation"):
            DeterministicPolicy(model, k="input")
        return
    check_module(model, batch(model.observation_space, N).clip(-3, 3))


class Shifted(SignedKGate):
    """A kind of one's own that multiplies by a square and adds a shift, for one k-set and for many."""

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        return super().gate(k) ** 2 / 2

    def shift(self, k: torch.Tensor | None = None) -> torch.Tensor:
        return (self.k if k is None else k).mean(-1, keepdim=True)

    def rows(self, k: torch.Tensor) -> torch.Tensor:
        return self._of_rows(k) ** 2 / 2

    def shifts(self, k: torch.Tensor) -> torch.Tensor:
        return self.shift(k)


class Narrower(ClampedKGate):
    """Its formula for many k-sets is another kind's."""

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        return super().gate(k).clamp(max=0.5)


class Squared(KGate):
    """It has no formula for many k-sets."""

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        return super().gate(k) ** 2


@pytest.mark.parametrize("block_size", [None, 16])
@pytest.mark.parametrize("kind", [ClampedKGate, FiLMGate, SignedKGate, Shifted])
def test_gates_of_every_kind(kind: Any, block_size: int | None, tmp_path: Path) -> None:
    kwargs = {"gate_class": kind, "block_size": block_size}
    model: Any = PPO(KGatedPolicy, Spaces(VECTOR, TORQUE), policy_kwargs=kwargs, seed=0, device="cpu")
    scatter(model)
    obs = batch(VECTOR, N)
    check_module(model, obs)
    if block_size is not None and kind is not SignedKGate:
        battery = battery_of(model)
        export_onnx(model, tmp_path / "policy.onnx", k="input")
        battery.save(tmp_path / "tasks.safetensors")
        policy = Policy(tmp_path / "policy.onnx", tmp_path / "tasks.safetensors")
        policy.apply(ROWS)
        np.testing.assert_allclose(policy.predict(obs), wanted(model, battery, obs)["rows"], rtol=1e-5, atol=1e-5)


def test_gates_that_cannot_be_folded_and_normalized_observations() -> None:
    env = vec_env.VecNormalize(vec_env.DummyVecEnv([lambda: Spaces(spaces.Box(900, 1000, (3,)), TORQUE)]), clip_obs=1.5)
    kwargs = {"features_extractor_class": WithSkip}
    model: Any = A2C(KGatedPolicy, env, n_steps=8, policy_kwargs=kwargs, seed=0, device="cpu").learn(40)
    scatter(model)
    raw = batch(spaces.Box(850, 1050, (3,)), N)
    battery = battery_of(model)
    actions = wanted(model, battery, env.normalize_obs(raw))
    module = DeterministicPolicy(model, k="input")
    found = asked(module, torch.stack([battery[name] for name in ROWS]), raw)
    np.testing.assert_allclose(found, actions["rows"], atol=1e-5)


def test_an_observation_may_be_called_k_and_the_file_says_which_input_it_is(tmp_path: Path) -> None:
    space = spaces.Dict(dict.fromkeys(("action", "k", "k_"), spaces.Box(-1, 1, (2,))))
    model: Any = A2C("KGatedMultiInputPolicy", Spaces(space, TORQUE), seed=0, device="cpu")
    scatter(model)
    battery, obs = battery_of(model), batch(space, N)
    battery.save(tmp_path / "tasks.safetensors")
    export_onnx(model, tmp_path / "policy.onnx", k="input")
    about = {each.key: each.value for each in onnx.load(tmp_path / "policy.onnx").metadata_props}
    assert about["k"] == "k__"
    assert about["weights"] == battery.verify().weights
    policy = Policy(tmp_path / "policy.onnx", tmp_path / "tasks.safetensors")
    policy.apply(ROWS)
    np.testing.assert_allclose(policy.predict(obs), wanted(model, battery, obs)["rows"], rtol=1e-5, atol=1e-5)


def test_a_file_with_its_own_k_is_what_it_was(tmp_path: Path) -> None:
    model, observation_space, _ = gated("PPO Box")
    export_onnx(model, tmp_path / "policy.onnx")
    assert not any(named_gates(DeterministicPolicy(model)))
    assert [*DeterministicPolicy(model).inputs] == ["obs"]
    assert not {each.key for each in onnx.load(tmp_path / "policy.onnx").metadata_props} & {"k", "weights"}
    obs = batch(observation_space, N)
    np.testing.assert_allclose(
        Policy(tmp_path / "policy.onnx").predict(obs), model.predict(obs, deterministic=True)[0], rtol=1e-5, atol=1e-5
    )


def test_what_takes_no_k_sets_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    plain: Any = A2C("MlpPolicy", "CartPole-v1", device="cpu")
    told = ContextObservation(gym.make("NBPendulum-v0", torque_gain=(-1.0, 1.0)), {"torque_gain": (-1.0, 1.0)})
    conditioned = PPO(KGatedPolicy, told, policy_kwargs={"k_from": "context"}, device="cpu")
    narrower, squared = (
        PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={"gate_class": kind}, device="cpu")
        for kind in (Narrower, Squared)
    )
    for model, k, message in (
        (plain, "input", "k must be 'folded' for a policy without k-gates; got 'input'"),
        (narrower, "input", "gates of the kind Narrower, whose `rows` and `shifts` differ from its `gate`"),
        (squared, "input", "gates of the kind Squared, whose `gate` or `shift` is its own, but not `rows`"),
        (plain, "inputs", "k must be 'folded' or 'input', got 'inputs'"),
        (conditioned, "input", "k must be 'folded' for a policy that computes its k's from the observation"),
        (make_student(PPO, KGatedPolicy, "mlp"), "input", "k must be 'folded' for a student, which infers its k's"),
    ):
        with pytest.raises(ValueError, match=message):
            export_onnx(model, path, k=k)
    assert not list(tmp_path.iterdir())
