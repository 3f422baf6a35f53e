"""The context in the observation: scaled by its ranges, and refused where it cannot be shown."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from nb_gym.wrappers import ContextObservation, PartedBox
from nb_gym.wrappers import vector as many
from tests.nb_gym.pendulums import LENGTH, RANGES


@pytest.mark.parametrize("key", [None, "context"])
def test_spaces_with_numbers_of_another_meaning_are_not_equal(key: str | None) -> None:
    """The bounds are the same; a space that says nothing of its parts is no other one."""

    def shown(ranges: Any) -> Any:
        return ContextObservation(gym.make("NBPendulum-v0"), ranges, key=key).observation_space

    space = shown({"A": (1.0, 1.5)})
    assert space == shown({"A": (1.0, 1.5)})
    for other in ({"A": (1.0, 2.0)}, {"torque_gain": (1.0, 1.5)}):
        assert space != shown(other)
    assert shown({"A": (1.0, 1.5), "m": (0.5, 1.0)}) != shown({"m": (0.5, 1.0), "A": (1.0, 1.5)})
    if key is None:
        bare = spaces.Box(space.low, space.high, dtype=np.float32)
        assert bare == space
        assert space == bare
        assert space != PartedBox(space.low, space.high, {"context": slice(0, 1), "observation": slice(1, 3)}, "f4")


def test_the_context_is_scaled_by_its_ranges() -> None:
    env = ContextObservation(gym.make("NBPendulum-v0", A=1.5, torque_gain=-0.75), RANGES)
    observation, info = env.reset(seed=0)
    np.testing.assert_array_equal(observation[2:], np.float32([1.0, 0.5]))
    assert info["context"]["A"] == 1.5
    observation, *_ = env.step(env.action_space.sample())
    np.testing.assert_array_equal(observation[2:], np.float32([1.0, 0.5]))


def test_ranges_that_the_environment_draws_from_are_its_own() -> None:
    for made in (gym.make("NBPendulum-v0", **RANGES), ContextObservation(gym.make("NBPendulum-v0", **RANGES))):
        assert made.unwrapped.context_ranges == RANGES
    named = ContextObservation(gym.make("NBPendulum-v0", **RANGES), ["torque_gain"])
    assert named.observation_space.shape == (3,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "parameters must name at least one with its range: the environment draws from none itself"),
        (["A"], r"parameters must give 'A' a \(low, high\) range"),
        ({"A": (1.0, 1.0)}, "low < high, got \\(1.0, 1.0\\) for 'A'"),
        ({"A": (0.0, np.inf)}, "must be finite"),
        ({"A": 3.0}, "got 3.0 for 'A'"),
        ({"A": ("1", "2")}, r"got \('1', '2'\) for 'A'"),
        (5, "parameters must be .* ranges by name, names, or None; got 5"),
        ([3], r"or None; got \[3\]"),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_parameters_without_a_range_are_refused(native: bool, parameters: Any, message: str) -> None:
    env: Any = gym.make_vec("NBPendulum-v0", num_envs=2) if native else gym.make("NBPendulum-v0")
    with pytest.raises((TypeError, ValueError), match=message):
        (many.ContextObservation if native else ContextObservation)(env, parameters)


class Reports(gym.Wrapper):
    """Reports another context than there is; a list of them is that of one episode after the other."""

    def __init__(self, context: Any) -> None:
        super().__init__(gym.make("NBPendulum-v0", **LENGTH))
        self.contexts = context if isinstance(context, list) else [context]

    def reset(self, **options: Any) -> Any:
        observation, _ = self.env.reset(**options)
        context = self.contexts.pop(0) if len(self.contexts) > 1 else self.contexts[0]
        return observation, {} if context is None else {"context": context}

    def step(self, action: Any) -> Any:
        return *self.env.step(action)[:4], {}


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, "must report its context as a mapping in info\\['context'\\], got None"),
        ({"b": 1.0}, "must hold 'A', which is to be observed; got \\['b'\\]"),
        ({"A": np.nan}, "must be finite, got nan for 'A'"),
        ({"A": "heavy"}, "must hold a number for 'A', got 'heavy'"),
        ({"A": "1.5"}, "must hold a number for 'A', got '1.5'"),
        ({"A": np.ones(1)}, r"must hold a number for 'A', got \[1.0\]"),
    ],
)
def test_contexts_that_cannot_be_shown_are_named(context: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContextObservation(Reports(context), {"A": (1.0, 2.0)}).reset()


@pytest.mark.parametrize("context", [None, {"b": 2.0}])
def test_a_vector_environment_invents_no_context(context: Any) -> None:
    """Where one of several reports nothing, Gymnasium fills in zeros, and after an episode the old context is there."""
    made = [lambda: Reports({"A": 2.0}), lambda: Reports(context)]
    env = many.ContextObservation(SyncVectorEnv(made), {"A": (1.0, 2.0)})
    with pytest.raises(ValueError, match=r"must hold 'A', .* as an episode begins; environments \[1\] report none"):
        env.reset(seed=0)
    for mode, steps in ((AutoresetMode.NEXT_STEP, 4), (AutoresetMode.SAME_STEP, 3)):
        made = [lambda: Reports([{"A": 1.0}, {"A": 2.0}]), lambda: Reports([{"A": 2.0}, context])]
        env = many.ContextObservation(SyncVectorEnv(made, autoreset_mode=mode), {"A": (1.0, 2.0)})
        actions = np.zeros((2, 1), dtype=np.float32)
        shown = [env.reset(seed=0)[0], *(env.step(actions)[0] for _ in range(steps - 1))]
        np.testing.assert_array_equal([each[:, 2] for each in shown], np.tile(np.float32([-1.0, 1.0]), (steps, 1)))
        with pytest.raises(ValueError, match=r"environments \[1\] report none"):
            env.step(actions)


def test_a_reset_of_some_leaves_the_contexts_of_the_others() -> None:
    mode = AutoresetMode.DISABLED
    made = [lambda: Reports([{"A": 1.0}, None]), lambda: Reports([{"A": 1.0}, {"A": 2.0}])]
    env = many.ContextObservation(SyncVectorEnv(made, autoreset_mode=mode), {"A": (1.0, 2.0)})
    np.testing.assert_array_equal(env.reset(seed=0)[0][:, 2], [-1.0, -1.0])
    observations, _ = env.reset(options={"reset_mask": np.array([False, True])})
    np.testing.assert_array_equal(observations[:, 2], [-1.0, 1.0])
    with pytest.raises(ValueError, match="must report its context"):
        env.reset(options={"reset_mask": np.array([True, False])})


def test_a_context_far_outside_is_said_once() -> None:
    """Beyond half a range away: what is a little outside says nothing, as warnings are errors here."""
    env = ContextObservation(gym.make("NBPendulum-v0", A=1.8), {"A": (1.0, 1.5)})
    with pytest.warns(UserWarning, match="far outside the ranges that scale it: A of"):
        env.reset(seed=0)
    env.reset(seed=1)
    ContextObservation(gym.make("NBPendulum-v0", torque_gain=2.0), {"torque_gain": (-1.5, 1.5)}).reset(seed=0)


@pytest.mark.parametrize("shape", [(1,), (3,)])
def test_a_vector_environments_context_is_a_number_for_each(shape: tuple[int, ...]) -> None:
    env = many.ContextObservation(SyncVectorEnv([lambda: Reports({"A": np.ones(shape)})] * 3), {"A": (1.0, 2.0)})
    with pytest.raises(ValueError, match=r"must hold an array of shape \(3,\) for 'A', got \[\[1.0"):
        env.reset(seed=0)
