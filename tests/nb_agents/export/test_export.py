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
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common import vec_env
from stable_baselines3.common.envs import FakeImageEnv

from nb_agents import KGatedPolicy, KGatedTD3Policy
from nb_agents.export.onnx import DeterministicPolicy, export_onnx
from nb_agents.gates.gate import named_gates
from nb_agents.surgery.retrofit import retrofit
from tests.nb_agents.shared import Spaces, WithSkip

SMALL = {"n_steps": 16}
OFF_POLICY = {"learning_starts": 4, "buffer_size": 50, "batch_size": 4}


VECTOR, TORQUE = spaces.Box(-3, 3, (3,)), spaces.Box(np.array([-2, 0], np.float32), np.array([2, 5], np.float32))
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
MIXED = spaces.Dict({"a": VECTOR, "image": IMAGE, "kind": spaces.Discrete(4), "matrix": spaces.Box(-1, 1, (2, 2))})
CASES: dict[str, tuple[Any, str, spaces.Space[Any], spaces.Space[Any], dict[str, Any]]] = {
    "PPO Box": (PPO, "MlpPolicy", VECTOR, TORQUE, SMALL | {"batch_size": 16}),
    "A2C gSDE squashed": (
        A2C, "MlpPolicy", VECTOR, TORQUE, SMALL | {"use_sde": True, "policy_kwargs": {"squash_output": True}},
    ),
    "A2C Discrete, of Discrete": (A2C, "MlpPolicy", spaces.Discrete(5), spaces.Discrete(4), SMALL),
    "A2C MultiDiscrete": (A2C, "MlpPolicy", VECTOR, spaces.MultiDiscrete([3, 4]), SMALL),
    "A2C MultiBinary": (A2C, "MlpPolicy", spaces.MultiBinary(4), spaces.MultiBinary(3), SMALL),
    "SAC": (SAC, "MlpPolicy", VECTOR, TORQUE, OFF_POLICY),
    "TD3": (TD3, "MlpPolicy", VECTOR, TORQUE, OFF_POLICY),
    "DQN image": (DQN, "CnnPolicy", IMAGE, spaces.Discrete(3), OFF_POLICY),
    "A2C Dict": (A2C, "MultiInputPolicy", MIXED, TORQUE, SMALL),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def batch(space: spaces.Space[Any], n: int) -> Any:
    space.seed(3)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space}
    return np.stack(samples)


def run(path: Path, obs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (actions,) = session.run(["action"], obs if isinstance(obs, dict) else {"obs": obs})
    return np.asarray(actions)


def scatter(model: Any) -> None:
    """Move gates and output layers, so that actions differ between observations and reach the bounds."""
    with torch.no_grad():
        for _, gate in named_gates(model.policy):
            gate.k.normal_()
        for parameter in model.policy.parameters():
            parameter.mul_(1.5 if parameter.dim() < 2 else 3.0)


def gated(name: str) -> tuple[Any, spaces.Space[Any], spaces.Space[Any]]:
    cls, policy, observation_space, action_space, settings = CASES[name]
    model = retrofit(cls(policy, Spaces(observation_space, action_space), seed=0, device="cpu", **settings))
    scatter(model)
    return model, observation_space, action_space


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


def test_vec_normalize_is_part_of_it(tmp_path: Path) -> None:
    env = vec_env.VecNormalize(vec_env.DummyVecEnv([lambda: Spaces(spaces.Box(900, 1000, (3,)), TORQUE)]), clip_obs=1.5)
    model: Any = A2C(KGatedPolicy, env, n_steps=8, seed=0, device="cpu").learn(40)
    scatter(model)
    raw = batch(spaces.Box(850, 1050, (3,)), 20)
    expected = model.predict(env.normalize_obs(raw), deterministic=True)[0]
    model.save(tmp_path / "model")
    alone: Any = A2C.load(tmp_path / "model", device="cpu")
    for module, obs in (
        (DeterministicPolicy(model), raw),
        (DeterministicPolicy(alone, normalize=env), raw),
        (DeterministicPolicy(model, normalize=False), env.normalize_obs(raw)),
        (DeterministicPolicy(alone), env.normalize_obs(raw)),
    ):
        with torch.no_grad():
            np.testing.assert_allclose(module(torch.as_tensor(obs)).numpy(), expected, atol=1e-5)
    with pytest.raises(ValueError, match="normalize must be for the model's observations"):
        DeterministicPolicy(A2C("MlpPolicy", "CartPole-v1", device="cpu"), normalize=env)


def test_images_behind_a_frame_stack_and_without_environment() -> None:
    def make() -> Any:
        return FakeImageEnv(screen_height=36, screen_width=36, n_channels=1)

    env = vec_env.VecFrameStack(vec_env.DummyVecEnv([make]), 2)
    model: Any = A2C("CnnPolicy", env, n_steps=8, seed=0, device="cpu")
    obs = batch(env.observation_space, 5)
    expected = model.predict(obs, deterministic=True)[0]
    module = DeterministicPolicy(model)
    assert module.inputs["obs"].shape == (36, 36, 2), "the stack's own observations, channels last"
    assert np.array_equal(module(torch.as_tensor(obs)).numpy(), expected)
    model.env = None
    module = DeterministicPolicy(model)
    assert module.inputs["obs"].shape == (2, 36, 36), "what the policy takes"
    assert np.array_equal(module(torch.as_tensor(obs.transpose(0, 3, 1, 2).copy())).numpy(), expected)
    module = DeterministicPolicy(model, normalize=vec_env.VecNormalize(env, norm_obs=False))
    assert np.array_equal(module(torch.as_tensor(obs)).numpy(), expected)


class Scaled(vec_env.VecEnvWrapper):
    """A wrapper of one's own."""

    def reset(self) -> Any:
        return self.venv.reset() * 2

    def step_wait(self) -> Any:
        obs, *rest = self.venv.step_wait()
        return obs * 2, *rest


class Halved(vec_env.VecNormalize):
    """A `VecNormalize` of one's own."""

    def _normalize_obs(self, obs: Any, obs_rms: Any) -> Any:
        return super()._normalize_obs(obs, obs_rms) / 2


class Logged(vec_env.VecFrameStack):
    """A frame stack that does the same as SB3's."""


FAR = spaces.Box(900, 1000, (3,))
PLANES = spaces.Box(-1, 1, (2, 3, 4))
PARTS = spaces.Dict({"far": FAR, "planes": PLANES, "image": IMAGE})


def vec(space: spaces.Space[Any]) -> vec_env.DummyVecEnv:
    return vec_env.DummyVecEnv([lambda: Spaces(space, TORQUE)])


def normalizer(env: Any) -> vec_env.VecNormalize:
    while not isinstance(env, vec_env.VecNormalize):
        env = env.venv
    return env


STACKS: dict[str, tuple[Any, int, Any]] = {
    "stack": (lambda: vec_env.VecFrameStack(vec_env.VecNormalize(vec(FAR)), 3), 3, -1),
    "stack of one's own": (lambda: Logged(vec_env.VecMonitor(vec_env.VecNormalize(vec(FAR), clip_obs=0.5)), 2), 2, -1),
    "stack of stacks": (
        lambda: vec_env.VecFrameStack(vec_env.VecFrameStack(vec_env.VecNormalize(vec(FAR)), 2), 3),
        6,
        -1,
    ),
    "planes, last": (lambda: vec_env.VecFrameStack(vec_env.VecNormalize(vec(PLANES)), 2), 2, -1),
    "planes, first": (lambda: vec_env.VecFrameStack(vec_env.VecNormalize(vec(PLANES)), 2, "first"), 2, 1),
}


@pytest.mark.parametrize("name", list(STACKS))
def test_vec_normalize_below_a_frame_stack_is_part_of_it(name: str, tmp_path: Path) -> None:
    make, n_frames, axis = STACKS[name]
    env = make()
    model: Any = A2C(KGatedPolicy, env, n_steps=8, seed=0, device="cpu").learn(40)
    scatter(model)
    frames = [batch(normalizer(env).observation_space, 9)[i : i + 4] for i in range(n_frames)]
    raw, seen = (
        np.concatenate(f, axis).astype(np.float32) for f in (frames, [*map(normalizer(env).normalize_obs, frames)])
    )
    expected = model.predict(seen, deterministic=True)[0]
    model.save(tmp_path / "model")
    alone: Any = A2C.load(tmp_path / "model", device="cpu")
    for module, obs in (
        (DeterministicPolicy(model), raw),
        (DeterministicPolicy(alone, normalize=env), raw),
        (DeterministicPolicy(model, normalize=False), seen),
        (DeterministicPolicy(alone), seen),
    ):
        assert module.inputs["obs"].shape == env.observation_space.shape
        with torch.no_grad():
            np.testing.assert_allclose(module(torch.as_tensor(obs)).numpy(), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"where frames are stacked around it, pass the frame stack"):
        DeterministicPolicy(alone, normalize=normalizer(env))


def test_a_missing_frame_is_the_mean() -> None:
    env = vec_env.VecFrameStack(vec_env.VecNormalize(vec(FAR)), 2)
    model: Any = A2C(KGatedPolicy, env, n_steps=8, seed=0, device="cpu").learn(40)
    scatter(model)
    seen = env.reset()
    assert not seen[:, :3].any()
    mean, raw = normalizer(env).obs_rms.mean.astype(np.float32), normalizer(env).get_original_obs()
    with torch.no_grad():
        action = DeterministicPolicy(model)(torch.as_tensor(np.concatenate([mean[None], raw], 1))).numpy()
    np.testing.assert_allclose(action, model.predict(seen, deterministic=True)[0], atol=1e-4)


def test_each_part_of_a_dictionary_takes_its_own_way() -> None:
    """The vector is normalized below the stack and above it; images are transposed and stacked, in either order."""
    for swapped in (False, True):
        normalize = vec_env.VecNormalize(vec(PARTS), norm_obs_keys=["far"])
        env: Any = vec_env.VecFrameStack(vec_env.VecTransposeImage(normalize) if swapped else normalize, 2)
        outer = vec_env.VecNormalize(env, norm_obs_keys=["far", "planes"])
        kwargs = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
        model: Any = A2C("MultiInputPolicy", outer, n_steps=8, seed=0, device="cpu", policy_kwargs=kwargs).learn(16)
        scatter(model)
        raw = batch(env.observation_space, 5)
        seen = dict(raw)
        halves = np.split(raw["far"], 2, -1)
        seen["far"] = np.concatenate([normalize._normalize_obs(h, normalize.obs_rms["far"]) for h in halves], -1)
        seen = {key: value.astype(np.float32) if key == "far" else value for key, value in seen.items()}
        expected = model.predict(outer.normalize_obs(seen), deterministic=True)[0]
        module = DeterministicPolicy(model)
        assert module.inputs["image"].shape == ((6, 36, 36) if swapped else (36, 36, 6))
        with torch.no_grad():
            actions = module(*(torch.as_tensor(raw[key]) for key in module.inputs)).numpy()
        np.testing.assert_allclose(actions, expected, atol=1e-4)


def test_an_extracted_part_of_a_dictionary() -> None:
    normalize = vec_env.VecNormalize(vec(PARTS), norm_obs_keys=["far"])
    model: Any = A2C("MlpPolicy", vec_env.VecExtractDictObs(normalize, "far"), n_steps=8, seed=0, device="cpu").learn(
        16
    )
    scatter(model)
    raw = batch(FAR, 5)
    seen = normalize._normalize_obs(raw, normalize.obs_rms["far"]).astype(np.float32)
    with torch.no_grad():
        actions = DeterministicPolicy(model)(torch.as_tensor(raw)).numpy()
    np.testing.assert_allclose(actions, model.predict(seen, deterministic=True)[0], atol=1e-5)


COUNTS = spaces.Box(0, 9, (3,), np.int64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Scaled(vec_env.VecNormalize(vec(FAR))),
            "normalized observations in Scaled, which stands around VecNormalize",
        ),
        (lambda: vec_env.VecFrameStack(Scaled(vec_env.VecNormalize(vec(FAR))), 2), "in Scaled, which stands"),
        (lambda: Scaled(vec_env.VecFrameStack(vec_env.VecNormalize(vec(FAR)), 2)), "in Scaled, which stands"),
        (lambda: Halved(vec(FAR)), "Halved normalizes otherwise than VecNormalize"),
        (lambda: vec_env.VecFrameStack(Halved(vec(FAR)), 2), "Halved normalizes otherwise"),
        (
            lambda: vec_env.VecFrameStack(vec_env.VecNormalize(vec(COUNTS)), 2),
            "rounds the normalized observations to int64",
        ),
    ],
)
def test_normalization_whose_effect_is_unknown_is_refused(make: Any, message: str) -> None:
    env = make()
    model: Any = A2C("MlpPolicy", env, device="cpu")
    with pytest.raises(ValueError, match=message):
        DeterministicPolicy(model)
    DeterministicPolicy(model, normalize=False)
    with pytest.raises(TypeError, match="normalize must be a VecNormalize or have one inside"):
        DeterministicPolicy(model, normalize=vec(FAR))


def test_wrappers_of_ones_own_around_no_normalization_stay_outside() -> None:
    for env in (
        Scaled(vec(FAR)),
        vec_env.VecNormalize(Scaled(vec(FAR))),
        Scaled(vec_env.VecNormalize(vec(FAR), norm_obs=False)),
    ):
        model: Any = A2C("MlpPolicy", env, n_steps=8, seed=0, device="cpu").learn(16)
        obs = batch(FAR, 4)
        seen = env.normalize_obs(obs) if isinstance(env, vec_env.VecNormalize) else obs
        with torch.no_grad():
            actions = DeterministicPolicy(model)(torch.as_tensor(obs)).numpy()
        np.testing.assert_allclose(actions, model.predict(seen, deterministic=True)[0], atol=1e-5)


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
