"""The exported policy, run by ONNX Runtime, beside `predict`."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, TD3

from nb_agents import KGatedPolicy, KGatedTD3Policy
from nb_agents.export.onnx import DeterministicPolicy, export_onnx
from nb_agents.gates.gate import named_gates
from tests.nb_agents.export.models import CASES, OFF_POLICY, TORQUE, VECTOR, batch, gated, scatter
from tests.nb_agents.shared import Spaces, WithSkip


def run(path: Path, obs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (actions,) = session.run(["action"], obs if isinstance(obs, dict) else {"obs": obs})
    return np.asarray(actions)


@pytest.mark.parametrize("name", list(CASES))
def test_module_acts_as_predict_does(name: str) -> None:
    model, observation_space, action_space = gated(name)
    module = DeterministicPolicy(model)
    assert not any(named_gates(module))
    obs = batch(observation_space, 40)
    expected = model.predict(obs, deterministic=True)[0]
    with torch.no_grad():
        actions = module(*map(torch.as_tensor, obs.values() if isinstance(obs, dict) else [obs])).numpy()
    assert actions.dtype == action_space.dtype
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)
    assert len(np.unique(expected)) > 1 or name == "DQN image"  # noise looks alike to a convolution


def test_the_module_takes_every_algorithm_without_recurrence(algorithm: Any) -> None:
    model = algorithm.make()
    scatter(model)
    if hasattr(model.policy, "lstm_actor"):
        with pytest.raises(ValueError, match="a recurrent policy has a state besides the observation"):
            DeterministicPolicy(model)
        return
    obs = batch(model.observation_space, 9).clip(-3, 3)
    with torch.no_grad():
        actions = DeterministicPolicy(model)(torch.as_tensor(obs)).numpy()
    np.testing.assert_allclose(actions, model.predict(obs, deterministic=True)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("A2C MultiBinary", "A2C gSDE squashed")])
def test_onnx_runtime_acts_as_predict_does(name: str, tmp_path: Path) -> None:
    model, observation_space, action_space = gated(name)
    state = {key: value.clone() for key, value in model.policy.state_dict().items()}
    export_onnx(model, tmp_path / "policy.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]
    assert all(torch.equal(model.policy.state_dict()[key], value) for key, value in state.items())
    for n in (1, 13):
        obs = batch(observation_space, n)
        actions, expected = run(tmp_path / "policy.onnx", obs), model.predict(obs, deterministic=True)[0]
        assert actions.dtype == action_space.dtype
        assert actions.shape == expected.shape == (n, *(action_space.shape or ()))
        np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "output"),
    [
        (("action",), "action_"),
        (("action", "action_"), "action__"),
        (("linear", "tanh", "linear_", "val_3"), "action"),  # what the exporter calls values of its own
        (("low", "high", "obs"), "action"),
    ],
)
def test_observations_may_have_any_name(keys: tuple[str, ...], output: str, tmp_path: Path) -> None:
    space = spaces.Dict(dict.fromkeys(keys, spaces.Box(-1, 1, (2,))))
    model: Any = A2C("MultiInputPolicy", Spaces(space, TORQUE), seed=0, device="cpu")
    scatter(model)
    export_onnx(model, tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    assert sorted(i.name for i in session.get_inputs()) == sorted(keys)
    assert [o.name for o in session.get_outputs()] == [output] == [DeterministicPolicy(model).output]
    obs = batch(space, 5)
    np.testing.assert_allclose(session.run([output], obs)[0], model.predict(obs, deterministic=True)[0], atol=1e-5)


def test_torch_export_takes_the_module() -> None:
    model: Any = TD3(KGatedTD3Policy, "Pendulum-v1", device="cpu", **OFF_POLICY)
    module = DeterministicPolicy(model)
    obs = batch(model.observation_space, 7)
    expected = model.predict(obs, deterministic=True)[0]
    example = module.example()
    program = torch.export.export(module, example, dynamic_shapes=(({0: torch.export.Dim("batch")},),))
    np.testing.assert_allclose(program.module()(torch.as_tensor(obs)).numpy(force=True), expected, atol=1e-5)


def test_gates_that_cannot_be_folded_are_exported_as_they_are() -> None:
    kwargs = {"features_extractor_class": WithSkip}
    model: Any = A2C(KGatedPolicy, Spaces(VECTOR, TORQUE), policy_kwargs=kwargs, seed=0, device="cpu")
    scatter(model)
    module, obs = DeterministicPolicy(model), batch(VECTOR, 7)
    assert any(named_gates(module))
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.as_tensor(obs)).numpy(), model.predict(obs, deterministic=True)[0])


def test_bad_input_leaves_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"precious")
    model: Any = A2C(KGatedPolicy, "CartPole-v1", device="cpu")
    with pytest.raises(TypeError, match="model must be a Stable-Baselines3 model or policy, got Sequential"):
        export_onnx(torch.nn.Sequential(), path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="normalize must be a VecNormalize, True or False, got str"):
        export_onnx(model, path, normalize="yes")  # type: ignore[arg-type]
    with monkeypatch.context() as context:
        context.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            export_onnx(model, path)
    real_import = builtins.__import__

    def without_onnx(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxscript":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(builtins, "__import__", without_onnx)
        with pytest.raises(ImportError, match=r"neural-battery\[onnx\]"):
            export_onnx(model, path)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]
