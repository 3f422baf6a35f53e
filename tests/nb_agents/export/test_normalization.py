"""Normalization and frame stacks around a model: they are part of the export, or refused where unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common import vec_env
from stable_baselines3.common.envs import FakeImageEnv

from nb_agents import KGatedPolicy
from nb_agents.export.onnx import DeterministicPolicy
from tests.nb_agents.export.models import IMAGE, TORQUE, batch, scatter
from tests.nb_agents.shared import Spaces


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
