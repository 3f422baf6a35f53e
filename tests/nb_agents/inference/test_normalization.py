"""VecNormalize beside context and history: what is observed may be standardised, what k comes from may not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nb_agents import (
    KGatedMultiInputPolicy,
    KGatedPolicy,
    KGatedSACMultiInputPolicy,
    KGatedSACPolicy,
    StudentPolicy,
    VectorEnvAdapter,
    distill,
)
from nb_gym.wrappers import HistoryObservation, vector
from tests.nb_agents.inference.models import OFF, make_env

ON = {"n_steps": 32, "batch_size": 32}


def normalized(*, key: bool, **kwargs: Any) -> VecNormalize:
    history = "history" if key else None
    return VecNormalize(DummyVecEnv([lambda: HistoryObservation(make_env(key=key), 3, key=history)]), **kwargs)


@pytest.mark.parametrize("k_from", ["context", "history"])
@pytest.mark.parametrize(
    ("algorithm", "policy", "settings"), [(PPO, KGatedMultiInputPolicy, ON), (SAC, KGatedSACMultiInputPolicy, OFF)]
)
def test_the_environments_own_observation_is_standardised_and_the_rest_is_as_it_was(
    algorithm: Any, policy: Any, settings: Any, k_from: str, tmp_path: Path
) -> None:
    env = normalized(key=True, norm_obs_keys=["observation"])
    model = algorithm(policy, env, policy_kwargs={"k_from": k_from}, seed=0, device="cpu", **settings).learn(64)
    shown, original = env.reset(), env.get_original_obs()
    assert isinstance(shown, dict)
    assert isinstance(original, dict)
    for name in ("context", "history"):
        np.testing.assert_array_equal(shown[name], original[name])
    assert (shown["history"] == 0.0).all(), "an empty history is still one"
    mean, spread = env.obs_rms["observation"].mean, np.sqrt(env.obs_rms["observation"].var + env.epsilon)
    np.testing.assert_allclose(shown["observation"], (original["observation"] - mean) / spread, rtol=1e-5)
    shown, *_ = env.step(model.predict(shown, deterministic=True)[0].reshape(1, -1))
    assert shown["history"].reshape(3, -1)[:, -1].tolist() == [0.0, 0.0, 1.0], "and its mask a mask"  # type: ignore[call-overload]
    model.save(tmp_path / "model.zip")
    algorithm.load(tmp_path / "model.zip", env=env)


@pytest.mark.parametrize("k_from", ["context", "history"])
def test_a_part_that_k_comes_from_is_not_to_be_standardised(k_from: str) -> None:
    both = " and ".join(dict.fromkeys((f"'{k_from}'", "'history'")))
    flat = f"VecNormalize must not standardise {both}: make the parts a dictionary, by the wrappers' key, and leave"
    with pytest.raises(ValueError, match=flat):
        PPO(KGatedPolicy, normalized(key=False), policy_kwargs={"k_from": k_from})
    for keys, names in (
        (None, both),
        (["observation", k_from], f"'{k_from}'"),
        (["observation", "history"], "'history'"),
    ):
        with pytest.raises(ValueError, match=f"{names}: leave {names} out of norm_obs_keys, or pass norm_obs=False"):
            PPO(KGatedMultiInputPolicy, normalized(key=True, norm_obs_keys=keys), policy_kwargs={"k_from": k_from})
    with pytest.raises(ValueError, match=flat):
        PPO(KGatedPolicy, VecNormalize(normalized(key=False), norm_obs=False), policy_kwargs={"k_from": k_from})
    PPO(KGatedPolicy, normalized(key=False, norm_obs=False), policy_kwargs={"k_from": k_from})
    with pytest.warns(UserWarning, match="must not standardise 'history': .*: the mask of the history and its zeros"):
        PPO(KGatedPolicy, normalized(key=False), device="cpu")


@pytest.mark.parametrize(("algorithm", "policy", "settings"), [(PPO, KGatedPolicy, ON), (SAC, KGatedSACPolicy, OFF)])
def test_an_environment_that_is_set_later_is_looked_at_too(algorithm: Any, policy: Any, settings: Any) -> None:
    kwargs = {"k_from": "context"}
    model = algorithm(policy, normalized(key=False, norm_obs=False), policy_kwargs=kwargs, device="cpu", **settings)
    model.set_env(normalized(key=False))
    for _ in range(2):
        with pytest.raises(ValueError, match="VecNormalize must not standardise 'context'"):
            model.learn(32)
    copy.deepcopy(model.policy).set_training_mode(True)  # a copy is nobody's
    model.set_env(normalized(key=False, norm_obs=False))
    model.learn(32)


SHORT: dict[str, Any] = {"total_timesteps": 96, "rounds": 2, "n_epochs": 2, "steps": 4, "seed": 3}


def worlds(gain: tuple[float, float] = (-1.0, 1.0), key: str | None = "context", name: str = "torque_gain") -> Any:
    env = gym.make_vec("NBPendulum-v0", num_envs=4, torque_gain=(-1.0, 1.0), frame_skip=20, episode_steps=200)
    return VectorEnvAdapter(vector.ContextObservation(env, {name: gain}, key=key))


@pytest.fixture(scope="module")
def teacher() -> PPO:
    env = VecNormalize(worlds(), norm_obs_keys=["observation"])
    settings: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "seed": 0, "device": "cpu"}
    return PPO(KGatedMultiInputPolicy, env, policy_kwargs={"k_from": "context"}, **settings).learn(64)


@pytest.fixture(scope="module")
def student(teacher: PPO) -> StudentPolicy:
    return distill(teacher, **SHORT)


def test_a_student_takes_raw_observations(teacher: PPO, student: StudentPolicy, tmp_path: Path) -> None:
    """It is what one that was shown standardised ones would be, and does by itself what the wrapper does."""
    statistics: Any = teacher.get_env()
    student.save(tmp_path / "student.pth")
    inside = copy.deepcopy(student)
    inside.normalize = None
    env = gym.make("NBPendulum-v0", torque_gain=-1.0, frame_skip=20)
    observation, _ = env.reset(seed=0)
    state = other = again = None
    loaded = StudentPolicy.load(tmp_path / "student.pth", device="cpu")
    for _ in range(6):
        shown = statistics.normalize_obs({"observation": observation[None]})["observation"]
        wanted, other = inside.predict(shown, other, deterministic=True)
        told, again = loaded.predict(observation, again, deterministic=True)
        before = state
        action, state = student.predict(observation, state, deterministic=True)
        np.testing.assert_array_equal(action, wanted[0])
        np.testing.assert_array_equal(told, action)
        np.testing.assert_array_equal(state.observation, shown)
        np.testing.assert_array_equal(state.rows, other.rows)
        plain = student.at(observation, before)
        entries = {"observation": shown} if isinstance(plain.observation_space, gym.spaces.Dict) else shown
        np.testing.assert_allclose(plain.predict(entries, deterministic=True)[0][0], action, atol=1e-6)
        observation, *_ = env.step(action)


def test_environments_without_statistics_are_seen_through_the_teachers(
    teacher: PPO, student: StudentPolicy, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "distillation.pt"
    for env in (worlds(), VecNormalize(worlds(), norm_obs=False)):
        other = distill(teacher, env, checkpoint=checkpoint, **SHORT)
        for (name, value), wanted in zip(other.state_dict().items(), student.state_dict().values(), strict=True):
            assert torch.equal(value, wanted), name
    later = copy.deepcopy(teacher.get_env().obs_rms)  # type: ignore[union-attr]
    later["observation"].mean += 1.0
    env = VecNormalize(worlds(), norm_obs_keys=["observation"])
    for statistics in (env.obs_rms, later):
        env.obs_rms = statistics
        with pytest.raises(ValueError, match="env must standardise observations as the teacher's does, by the same"):
            distill(teacher, env, **SHORT)
    alone = PPO(KGatedMultiInputPolicy, worlds(), policy_kwargs={"k_from": "context"}, device="cpu")
    alone.policy.load_state_dict(teacher.policy.state_dict())
    with pytest.raises(ValueError, match="env must standardise observations as the teacher's does"):
        distill(alone, env, **SHORT)
    with pytest.raises(ValueError, match=r"must be of this distillation, .* of one with normalize='"):
        distill(alone, worlds(), checkpoint=checkpoint, **SHORT)


@pytest.mark.parametrize("key", ["context", None])
def test_environments_that_show_another_context_are_refused(key: str | None) -> None:
    policy = KGatedMultiInputPolicy if key else KGatedPolicy
    teacher = PPO(policy, worlds(key=key), policy_kwargs={"k_from": "context"}, device="cpu")
    for env in (worlds((-2.0, 2.0), key), worlds((1.0, 2.0), key, "A")):
        with pytest.raises(ValueError, match=r"env must show what the teacher observes, .*torque_gain.*; got .*2\.0"):
            distill(teacher, env, **SHORT)
