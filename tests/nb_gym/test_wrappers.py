"""Context and history in the observation: the same numbers in scalar and vector environments, however they reset."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import nb_gym
from nb_gym.wrappers import ContextObservation, HistoryObservation, PartedBox
from nb_gym.wrappers import vector as many
from tests.nb_gym.pendulums import RANGES, batch, wrapped


def test_the_parts_of_a_flat_observation_are_named() -> None:
    env = wrapped()
    assert isinstance(env.observation_space, PartedBox)
    assert env.observation_space.parts == {
        "observation": slice(0, 2), "context": slice(2, 4), "history": slice(4, 16),
    }  # fmt: skip
    copied = pickle.loads(pickle.dumps(env.observation_space))
    assert copied == env.observation_space
    assert copied.parts == env.observation_space.parts
    assert copied.ranges == {"context": RANGES}


@pytest.mark.parametrize("key", [False, True])
def test_gymnasiums_and_sb3s_checks_pass(key: bool) -> None:
    env = wrapped(key=key)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version")  # it is a wrapper, tested as one
        warnings.filterwarnings("ignore", ".*symmetric and normalized")  # an advice on torques of up to 2
        check_env(env, skip_render_check=True)
        sb3_check_env(wrapped(key=key))


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_environments_show_what_single_ones_do(mode: AutoresetMode, key: bool) -> None:
    """From the first reset to the bit; later episodes come from other generators, so that what follows is checked.

    That is the context that the info reports, and the history that the observations before have made.
    """
    for native in (True, False):
        env = batch(mode, native=native, key=key)
        rng = np.random.default_rng(0)
        observations, infos = env.reset(seed=[1, 2, 3])
        alone = [wrapped(key=key).reset(seed=seed)[0] for seed in (1, 2, 3)]
        for i, each in enumerate(alone):
            _assert_same(_row(observations, i), each)
        for _ in range(7):
            actions = rng.uniform(-2, 2, (3, 1)).astype(np.float32)
            before = observations
            observations, *_, infos = env.step(actions)
            for i in range(3):
                own = _parts(_row(observations, i))
                reported = np.array([infos["context"][name][i] for name in RANGES])
                low, high = np.array(list(RANGES.values())).T
                scaled = (2 * reported - low - high) / (high - low)
                np.testing.assert_allclose(own["context"], scaled, rtol=1e-6, atol=1e-6)
                final = infos["final_obs"][i] if "final_obs" in infos and infos["_final_obs"][i] else None
                shown = _parts(_row(observations, i) if final is None else final)
                previous = _parts(_row(before, i))
                if shown["history"].reshape(2, 6)[-1, -1]:
                    change = shown["observation"] - previous["observation"]
                    wanted = [*previous["observation"], *actions[i], *change, 1.0]
                    np.testing.assert_allclose(shown["history"].reshape(2, 6)[-1], wanted, rtol=1e-5, atol=1e-6)
                if final is not None:
                    assert not own["history"].any()
                    assert env.single_observation_space.contains(final)
        assert env.observation_space.contains(observations)


def _row(observations: Any, i: int) -> Any:
    return {k: v[i] for k, v in observations.items()} if isinstance(observations, dict) else observations[i]


def _parts(observation: Any) -> dict[str, Any]:
    if isinstance(observation, dict):
        return {name: np.asarray(value) for name, value in observation.items()}
    return {"observation": observation[:2], "context": observation[2:4], "history": observation[4:]}


def _assert_same(a: Any, b: Any) -> None:
    for name, value in _parts(a).items():
        np.testing.assert_array_equal(np.ravel(value), np.ravel(_parts(b)[name]))


@pytest.mark.parametrize(("wrapper", "more"), [("ContextObservation", (RANGES,)), ("HistoryObservation", ())])
def test_arguments_of_another_kind_are_named(wrapper: str, more: Any) -> None:
    pendulum = gym.make("NBPendulum-v0")
    with pytest.raises(TypeError, match=r"env must be a gymnasium.vector.VectorEnv, got <.*NBPendulum"):
        getattr(many, wrapper)(pendulum, *more)
    for env, module in ((pendulum, nb_gym.wrappers), (gym.make_vec("NBPendulum-v0", 2), many)):
        with pytest.raises(ValueError, match="key must be text that is not empty, or None; got ''"):
            getattr(module, wrapper)(env, *more, key="")
        with pytest.raises(TypeError, match="key must be text or None, got 3"):
            getattr(module, wrapper)(env, *more, key=3)


def test_observations_that_cannot_be_flat_or_have_the_part_already_are_refused() -> None:
    twice = ContextObservation(gym.make("NBPendulum-v0"), RANGES)
    with pytest.raises(ValueError, match="has a part 'context' already"):
        ContextObservation(twice, RANGES)
    with pytest.raises(ValueError, match="must be a new one, got 'context'"):
        ContextObservation(ContextObservation(gym.make("NBPendulum-v0"), RANGES, key="context"), RANGES)
    image = gym.wrappers.TransformObservation(
        gym.make("NBPendulum-v0"), lambda _: np.zeros((2, 2), np.float32), spaces.Box(0, 1, (2, 2), np.float32)
    )
    with pytest.raises(ValueError, match="must be a Box of one dimension"):
        HistoryObservation(image)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        HistoryObservation(gym.make("NBPendulum-v0"), 0)


def test_an_environment_is_made_again_from_its_spec() -> None:
    env = wrapped()
    again = gym.make(env.spec)
    np.testing.assert_array_equal(env.reset(seed=3)[0], again.reset(seed=3)[0])
    assert nb_gym.wrappers.HistoryObservation is HistoryObservation
