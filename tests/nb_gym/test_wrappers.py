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
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import nb_gym
from nb_gym.wrappers import ContextObservation, HistoryObservation, PartedBox
from nb_gym.wrappers import vector as many

RANGES = {"A": (1.0, 1.5), "torque_gain": (-1.5, -0.5)}
LENGTH = {"episode_steps": 60, "frame_skip": 20}


def wrapped(*, key: bool = False, **context: Any) -> gym.Env[Any, Any]:
    env = gym.make("NBPendulum-v0", **LENGTH, **(context or RANGES))
    keys = {"key": "context"} if key else {}
    return HistoryObservation(ContextObservation(env, RANGES, **keys), 2)


def batch(mode: AutoresetMode, *, native: bool, key: bool = False) -> VectorEnv[Any, Any, Any]:
    if not native:
        return SyncVectorEnv([lambda: wrapped(key=key)] * 3, autoreset_mode=mode)
    env = gym.make_vec("NBPendulum-v0", num_envs=3, autoreset_mode=mode, **LENGTH, **RANGES)
    return many.HistoryObservation(many.ContextObservation(env, RANGES, key="context" if key else None), 2)


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


def test_the_history_holds_the_last_complete_transitions() -> None:
    env = HistoryObservation(gym.make("NBPendulum-v0", max_torque=1.0, **LENGTH), 2, key="history")
    first, _ = env.reset(seed=0)
    assert not first["history"].any()
    second, *_ = env.step(np.float32([5.0]))
    o, p = first["observation"], second["observation"]
    assert not second["history"][:6].any()
    np.testing.assert_allclose(second["history"][6:], [*o, 1.0, *(p - o), 1.0], rtol=1e-6)
    third, *_, truncated, _ = env.step(np.float32([-0.5]))
    np.testing.assert_array_equal(third["history"][:6], second["history"][6:])
    np.testing.assert_allclose(third["history"][6:], [*p, -0.5, *(third["observation"] - p), 1.0], rtol=1e-6)
    fourth, *_, truncated, _ = env.step(np.float32([0.0]))
    assert truncated
    np.testing.assert_array_equal(fourth["history"][:6], third["history"][6:])  # the end of an episode has its history
    assert not env.reset()[0]["history"].any()


def test_discrete_actions_are_one_hot() -> None:
    env = HistoryObservation(gym.make("CartPole-v1"), 3, key="history")
    env.reset(seed=0)
    observation, *_ = env.step(1)
    assert observation["history"].shape == (3 * (4 + 2 + 4 + 1),)
    np.testing.assert_array_equal(observation["history"].reshape(3, 11)[2, 4:6], [0.0, 1.0])
    assert env.observation_space.contains(observation)


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


@pytest.mark.parametrize("native", [True, False])
def test_the_history_is_empty_after_a_reset_whatever_begins_it(native: bool) -> None:
    for mode, empty_at in ((AutoresetMode.NEXT_STEP, 4), (AutoresetMode.SAME_STEP, 3)):
        env = batch(mode, native=native)
        env.reset(seed=0)
        filled = []
        for _ in range(6):
            observations, *_ = env.step(np.ones((3, 1), dtype=np.float32))
            filled.append(bool(observations[:, 4:].any()))
        assert [step for step, each in enumerate(filled, start=1) if not each] == [
            step for step in range(1, 7) if step % (4 if mode is AutoresetMode.NEXT_STEP else 3) == 0
        ], empty_at


def test_a_reset_mask_leaves_the_other_histories() -> None:
    env = batch(AutoresetMode.DISABLED, native=True)
    env.reset(seed=0)
    before, *_ = env.step(np.ones((3, 1), dtype=np.float32))
    after, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert not after[1, 4:].any()


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


def test_actions_that_a_history_cannot_hold_are_refused() -> None:
    env = gym.make("NBPendulum-v0")
    env.action_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3)))
    with pytest.raises(ValueError, match=r"the actions must be of one of Box, Discrete, .*, got Tuple"):
        HistoryObservation(env)


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
