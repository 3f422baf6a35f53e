"""Seeds: what is accepted, and that a refused one changes nothing; settings at the edge of what is accepted."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from numpy.testing import assert_array_equal

from nb_gym import Navigation2DEnv, Navigation2DVectorEnv, NBPendulumEnv, NBPendulumVectorEnv

SCALAR = [NBPendulumEnv, Navigation2DEnv]
VECTOR = [lambda **kw: NBPendulumVectorEnv(3, **kw), lambda **kw: Navigation2DVectorEnv(3, **kw)]

BAD: list[Any] = [
    -1,
    -(10**30),
    1.0,
    3.5,
    np.float64(2),
    True,
    np.True_,
    "3",
    b"abc",
    "abc",
    {},
    {1, 2, 3},
    object(),
    1j,
]
BAD_SCALAR = [*BAD, np.int64(-1), [1], (1, 2, 3), np.array(3), np.array([3]), range(3)]
BAD_VECTOR = [
    *BAD,
    np.array(3),
    [],
    [1, 2],
    [1, 2, 3, 4],
    [1, 2, -3],
    [1, 2, 3.0],
    [1, True, 3],
    [1, "2", 3],
    [[1], [2], [3]],
    np.array([[1, 2, 3]]),
    np.array([1.0, 2.0, 3.0]),
    np.array([True, False, True]),
    np.array([1, -2, 3]),
    range(4),
    range(-1, 2),
    (x for x in (1, 2, 3)),
]


def act(env: Any) -> Any:
    return env.step(np.zeros(env.action_space.shape, np.float32))


def what_it_gives(env: Any, seed: Any) -> list[Any]:
    observation, info = env.reset(seed=seed)
    return [observation, info.get("goal"), act(env)[0], env.np_random.random(3)]


@pytest.mark.parametrize("make", SCALAR + VECTOR)
@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), np.int32(7), np.uint64(7)])
def test_numpys_integers_are_the_same_seeds(make: Any, seed: Any) -> None:
    np.testing.assert_equal(what_it_gives(make(), seed), what_it_gives(make(), 7))


@pytest.mark.parametrize("make", VECTOR)
@pytest.mark.parametrize("seeds", [(3, 4, 5), np.array([3, 4, 5]), range(3, 6), [np.int8(3), 4, np.uint32(5)]])
def test_seeds_for_each_environment(make: Any, seeds: Any) -> None:
    np.testing.assert_equal(what_it_gives(make(), seeds), what_it_gives(make(), [3, 4, 5]))


@pytest.mark.parametrize("make", SCALAR + VECTOR)
@pytest.mark.parametrize("seed", [0, 2**63, 2**200, 10**400])
def test_every_non_negative_integer_is_a_seed(make: Any, seed: int) -> None:
    np.testing.assert_equal(what_it_gives(make(), seed), what_it_gives(make(), seed))


@pytest.mark.parametrize(
    ("make", "seed"), [*((m, s) for m in SCALAR for s in BAD_SCALAR), *((m, s) for m in VECTOR for s in BAD_VECTOR)]
)
def test_a_refused_seed_changes_nothing(make: Any, seed: Any) -> None:
    env, twin = make(), make()
    with pytest.raises(ValueError, match=r"seed must be an integer .*\(>= 0\) or None, got"):
        env.reset(seed=seed)
    with pytest.raises(ResetNeeded):
        act(env)
    for each in (env, twin):
        each.reset(seed=5)
        act(each)
    with pytest.raises(ValueError, match="seed must be"):
        env.reset(seed=seed)
    np.testing.assert_equal(act(env)[:2], act(twin)[:2])
    np.testing.assert_equal(what_it_gives(env, None), what_it_gives(twin, None))


@pytest.mark.parametrize("make", SCALAR + VECTOR)
def test_a_refused_first_reset_leaves_nothing_to_step_or_draw(make: Any) -> None:
    env = make(render_mode="rgb_array")
    for bad in ({"seed": -1}, {"options": {"nothing": 1}}, {"options": 5}):
        with pytest.raises(ValueError, match=r"seed must be|unknown reset option|options must be"):
            env.reset(**bad)
        for call in (lambda: act(env), env.render):
            with pytest.raises(ResetNeeded):
                call()


@pytest.mark.parametrize("name", ["NBPendulum-v0", "Navigation2D-v0"])
def test_through_make_a_bad_seed_is_named_too(name: str) -> None:
    for env in (gym.make(name), gym.make_vec(name, num_envs=2)):
        with pytest.raises(ValueError, match=r"seed must be an integer .* got -1"):
            env.reset(seed=-1)
        env.reset(seed=1)


@pytest.mark.parametrize("make", [NBPendulumEnv, NBPendulumVectorEnv])
@pytest.mark.parametrize("dt", [5e-324, 1e-320, 1e-308, 1e-12, 1e-6])
def test_tiny_steps_give_finite_numbers(make: Any, dt: float) -> None:
    env = make(dt=dt, frame_skip=3)
    assert env.metadata["render_fps"] == min(10**6, round(1 / (3 * dt)) if dt > 1e-9 else 10**6)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        new, reward, *_ = act(env)
        assert np.isfinite(new).all()
        assert np.isfinite(reward).all()
    assert np.allclose(new, observation, atol=1e-4)


@pytest.mark.parametrize("make", [NBPendulumEnv, NBPendulumVectorEnv])
@pytest.mark.parametrize("name", ["frame_skip", "episode_steps"])
@pytest.mark.parametrize("bits", [64, 1000, 20_000])
def test_counts_beyond_the_counters_are_refused(make: Any, name: str, bits: int) -> None:
    value = 2 ** (bits - 1)
    with pytest.raises(ValueError, match=f"{name} must be an integer of at most {2**63 - 1}, got one of {bits} bits"):
        make(**{name: value})


def test_the_largest_counts_are_counted() -> None:
    most = 2**63 - 1
    for env in (NBPendulumEnv(episode_steps=most), NBPendulumVectorEnv(2, episode_steps=most)):
        assert env.decisions == most
        env.reset(seed=0)
        act(env)
    envs = NBPendulumVectorEnv(2, episode_steps=most)
    envs.reset(seed=0)
    act(envs)
    envs.reset(options={"reset_mask": np.array([True, False])})
    assert not act(envs)[3].any()
    for env in (
        NBPendulumEnv(frame_skip=most, episode_steps=2),
        NBPendulumVectorEnv(2, frame_skip=most, episode_steps=2),
    ):
        assert env.metadata["render_fps"] == env.decisions == 1
        env.reset(seed=0)
        assert np.all(act(env)[3])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_out_of_step_a_frame_skip_beyond_the_episode_costs_no_more_than_the_episode(mode: str) -> None:
    long, exact = (
        NBPendulumVectorEnv(3, frame_skip=skip, episode_steps=10, autoreset_mode=mode) for skip in (10**12, 10)
    )
    for envs in (long, exact):  # 10¹² steps would take days
        envs.reset(seed=0)
        for _ in range(3):
            envs.reset(options={"reset_mask": np.array([True, False, True])})
            act(envs)
            if mode == "Disabled":
                envs.reset()
    assert_array_equal(long.state, exact.state)
    assert_array_equal(long.time, exact.time)


@pytest.mark.parametrize("goal", [(1e308, 1e308), (-1e308, 1e308), (1e200, 0.0), (0.0, 1e155), (1e150, -1e150)])
def test_far_goals_have_finite_distances(goal: tuple[float, float]) -> None:
    scalar, vector = Navigation2DEnv(goal=goal), Navigation2DVectorEnv(3, goal=np.array([goal, (0.3, 0.4), goal]))
    near = Navigation2DEnv(goal=(0.3, 0.4))
    for env in (scalar, vector, near):
        env.reset(seed=0)
    rewards = vector.step(np.zeros((3, 2)))[1]
    assert rewards.tolist() == [scalar.step(np.zeros(2))[1], near.step(np.zeros(2))[1], rewards[0]]
    assert rewards[0] == pytest.approx(-np.hypot(*goal), rel=1e-15)
    vector.reset(options={"goal": (0.3, 0.4)})
    assert vector.step(np.zeros((3, 2)))[1].tolist() == [rewards[1]] * 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.uint64])
def test_goals_of_every_kind_of_number(dtype: Any) -> None:
    for make in (Navigation2DEnv, lambda **kw: Navigation2DVectorEnv(1, **kw)):
        assert_array_equal(np.ravel(make(goal=np.array([1, 0], dtype)).reset()[1]["goal"]), [1.0, 0.0])
        for bad in (np.inf, -np.inf, np.nan) if np.dtype(dtype).kind == "f" else ():
            with pytest.raises(ValueError, match="goal must be finite"):
                make(goal=np.array([bad, 0], dtype))


@pytest.mark.parametrize(
    "goal", [(1.1e308, 0.0), (0.0, -1.7e308), (np.inf, 0.0), (np.longdouble("1e400"), 0.0), (10**400, 0)]
)
def test_goals_without_a_finite_distance_are_refused(goal: Any) -> None:
    for make in (Navigation2DEnv, Navigation2DVectorEnv):
        with pytest.raises(ValueError, match="goal must be finite, at most 1e\\+308 in absolute value"):
            make(goal=goal)
        env = make()
        with pytest.raises(ValueError, match="goal must be finite"):
            env.reset(options={"goal": goal})
