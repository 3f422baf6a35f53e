"""The native vector class is as many scalar environments, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from nb_gym import NBPendulumEnv, NBPendulumVectorEnv
from nb_gym.pendulum.dynamics import CHANNELS

EVERYTHING = tuple(CHANNELS)


def random_context(rng: np.random.Generator, num_envs: int, shared: bool) -> dict[str, Any]:
    """One context for all environments, or one for each."""
    size = None if shared else num_envs
    return {
        "A": rng.uniform(-1, 3, size),
        "b": rng.uniform(0, 1, size),
        "omega": rng.uniform(-3, 3, size),
        "phase": rng.uniform(-4, 4, size),
        "torque_gain": rng.uniform(-1.5, 1.5, size),
        "dt": rng.uniform(0.001, 0.2, size),
        "max_torque": rng.uniform(0.1, 3, size),
    }


def of_env(context: dict[str, Any], i: int) -> dict[str, float]:
    """The context of environment i."""
    return {name: float(values if np.ndim(values) == 0 else values[i]) for name, values in context.items()}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("frame_skip", [1, 7])
@pytest.mark.parametrize("num_envs", [1, 3, 8, 37, 1003])
def test_scalar_and_vector_agree_to_the_last_bit(num_envs: int, frame_skip: int, shared: bool) -> None:
    rng = np.random.default_rng([num_envs, frame_skip, shared])
    context = random_context(rng, num_envs, shared)
    common: dict[str, Any] = {"frame_skip": frame_skip, "episode_steps": 60, "observe": EVERYTHING}
    common["reward_scale"] = 1 / frame_skip
    vector = NBPendulumVectorEnv(num_envs, **common, **context)
    # Of many, the first and the last: vector instructions end in a remainder.
    compared = {*range(min(num_envs, 8)), *range(max(0, num_envs - 8), num_envs)}
    scalars = {i: NBPendulumEnv(**common, **of_env(context, i)) for i in compared}
    start = {"theta": rng.normal(0, 2, num_envs), "theta_dot": rng.normal(0, 5, num_envs)}
    observations, _ = vector.reset(seed=0, options=start)
    for i, env in scalars.items():
        observation, _ = env.reset(options={name: values[i] for name, values in start.items()})
        assert_array_equal(observation, observations[i])
    truncated = np.zeros(num_envs, dtype=bool)
    while not truncated.all():
        actions = rng.normal(0, 2, (num_envs, 1)).astype(np.float32)
        observations, rewards, _, truncated, _ = vector.step(actions)
        states = np.transpose(vector.state)
        for i, env in scalars.items():
            observation, reward, _, over, _ = env.step(actions[i])
            assert env.state == tuple(states[i])
            assert reward == rewards[i]
            assert over == truncated[i]
            assert_array_equal(observation, observations[i])
