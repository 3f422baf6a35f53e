"""`VectorBase` gives what Gymnasium's own vector environments give, on the class that the docs add with it."""

from __future__ import annotations

import contextlib
import copy
import io
import runpy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.testing import assert_array_equal

from nb_gym import VectorBase

SCRIPT = Path(__file__).parents[2] / "docs" / "contributing" / "environment.py"
MODES = list(AutoresetMode)


@pytest.fixture(scope="module")
def script() -> tuple[Any, str]:
    """The class that the docs add, and what the script that adds it prints when it runs."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        return runpy.run_path(str(SCRIPT), run_name="__main__")["MassOnALineVectorEnv"], output.getvalue()


@pytest.fixture(scope="module")
def line(script: tuple[Any, str]) -> Any:
    """The class."""
    return script[0]


@pytest.fixture(scope="module")
def steady(line: Any) -> Any:
    """The same with starts that are not drawn: Gymnasium's class draws from one generator for each environment."""

    class Steady(line):  # type: ignore[misc]
        def _draw(self, settings: Any, rng: Any, index: Any, size: int | None) -> dict[str, Any]:
            return super()._draw(settings, rng, index, size) | {"x": settings.get("x", 1.5)}

    return Steady


class One(gym.Env[Any, Any]):
    """A single environment of the class: what `SyncVectorEnv` makes many of."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, line: Any, **kwargs: Any) -> None:
        self._envs = line(1, autoreset_mode="Disabled", **kwargs)
        self.observation_space, self.action_space = self._envs.single_observation_space, self._envs.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observations, info = self._envs.reset(seed=None if seed is None else [seed], options=options)
        return observations[0], {"mass": info["mass"][0]}

    def step(self, action: Any) -> Any:
        observations, rewards, terminated, truncated, info = self._envs.step(action[None])
        return observations[0], rewards[0], bool(terminated[0]), bool(truncated[0]), {"mass": info["mass"][0]}


def assert_same_info(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal keys and masks, and equal values wherever a mask says that there are any."""
    assert ours.keys() == theirs.keys()
    for name in (each for each in theirs if not each.startswith("_")):
        mask = theirs[f"_{name}"]
        assert_array_equal(ours[f"_{name}"], mask)
        if isinstance(theirs[name], dict):
            assert_same_info(ours[name], theirs[name])
        else:
            for i in np.flatnonzero(mask):
                assert_array_equal(ours[name][i], theirs[name][i])


def test_the_script_of_the_docs_runs_and_is_short(script: tuple[Any, str]) -> None:
    assert script[1].startswith("A mass on a line")
    lines = [line.strip() for line in SCRIPT.read_text().splitlines()]
    assert len([line for line in lines if line and not line.startswith(("#", '"'))]) < 60


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_is_that_of_gymnasiums_sync_vector_env(steady: Any, mode: AutoresetMode) -> None:
    masses = np.array([0.3, 0.5, 1.0, 40.0])  # some episodes terminate, others are truncated, out of step
    ours = steady(4, mass=masses, autoreset_mode=mode, max_episode_steps=9)
    theirs = SyncVectorEnv([lambda m=m: One(steady, mass=m, max_episode_steps=9) for m in masses], autoreset_mode=mode)
    rng, over, ends = np.random.default_rng(0), np.zeros(4, dtype=bool), np.zeros((2, 4), dtype=int)
    for t in range(60):
        options: dict[str, Any] | None = {} if t == 0 else None
        if mode is AutoresetMode.DISABLED and over.any():
            options = {"reset_mask": over, "x": 1.7, "mass": 0.4}
        elif t in (5, 20):
            options = {"reset_mask": np.arange(4) == t // 10, "x": -1.0}
        if options is not None:
            observations, info = ours.reset(options=copy.copy(options))
            expected, expected_info = theirs.reset(options=options)
            assert_array_equal(observations, expected)
            assert_same_info(info, expected_info)
        actions = rng.uniform(0, 2, (4, 1)).astype(np.float32)
        *results, info = ours.step(actions)
        *expected_results, expected_info = theirs.step(actions)
        for result, expected in zip(results, expected_results, strict=True):
            assert result.dtype == expected.dtype
            assert_array_equal(result, expected)
        assert_same_info(info, expected_info)
        over = results[2] | results[3]
        ends += results[2:4]
    assert (ends.sum(axis=1) > 2).all(), ends
    assert len({tuple(column) for column in ends.T}) > 2


def test_seeds_for_each_environment_are_those_of_a_single_one(line: Any) -> None:
    envs, seeds = line(3, mass=(0.5, 2.0)), [4, 9, 4]
    observations, info = envs.reset(seed=seeds)
    for i, seed in enumerate(seeds):
        single, single_info = line(1, mass=(0.5, 2.0)).reset(seed=[seed])
        assert_array_equal(observations[i], single[0])
        assert info["mass"][i] == single_info["mass"][0]
    later = envs.reset()[0]
    envs.reset(seed=seeds)
    assert_array_equal(envs.reset()[0], later)
    one = envs.reset(seed=11)[1]["mass"]
    assert len(set(one)) == 3
    assert_array_equal(envs.reset(seed=11)[1]["mass"], one)
    mixed = envs.reset(seed=[4, None, 4])[1]["mass"]
    assert mixed[0] == mixed[2] == info["mass"][0] != mixed[1]


@pytest.mark.parametrize("mode", MODES)
def test_what_a_caller_writes_into_changes_nothing(line: Any, mode: AutoresetMode) -> None:
    ours, twin = (line(3, mass=np.array([0.3, 1.0, 2.0]), max_episode_steps=4, autoreset_mode=mode) for _ in range(2))
    for each in (ours, twin):
        each.reset(seed=1)
    for t in range(20):
        if mode is AutoresetMode.DISABLED and t % 4 == 0:
            for each in (ours, twin):
                each.reset(options={})
        actions = np.full((3, 1), 0.7 * (t % 3))
        *results, info = ours.step(actions)
        expected = twin.step(actions)
        for result, each in zip(results, expected[:4], strict=True):
            assert_array_equal(result, each)
            result[:] = 1
        info["mass"][:] = 99.0
        assert_array_equal(expected[4]["mass"] < 3, True)


def test_the_spec_has_the_length_and_copies_go_on(line: Any) -> None:
    envs = gym.make_vec("MassOnALine-v0", num_envs=2, max_episode_steps=7)
    assert envs.spec is not None
    assert envs.spec.max_episode_steps == envs.unwrapped.decisions == 7
    assert line(1, max_episode_steps=80).decisions == 50
    envs.reset(seed=0)
    twin = copy.deepcopy(envs)
    for _ in range(10):
        for ours, theirs in zip(envs.step(np.ones((2, 1))), twin.step(np.ones((2, 1))), strict=True):
            np.testing.assert_equal(ours, theirs)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda envs: envs.step(np.zeros((3, 1))), ResetNeeded, "call reset"),
        (lambda envs: envs.reset(options={"reset_mask": np.eye(3)[0] == 1}), ResetNeeded, "leave reset_mask out"),
        (lambda envs: envs.reset(options={"weight": 1}), ValueError, "unknown reset option 'weight'; accepted are"),
        (lambda envs: envs.reset(options={"mass": 0.0}), ValueError, "mass must be greater than 0, got 0.0"),
        (lambda envs: envs.reset(seed=[1, 2]), ValueError, "seed must be an integer or a sequence of 3 integers"),
        (lambda envs: type(envs)(0), ValueError, "num_envs must be an integer of at least 1, got 0"),
        (lambda envs: type(envs)(1, autoreset_mode="Never"), ValueError, "autoreset_mode must be one of"),
        (lambda envs: type(envs)(1, render_mode="human"), ValueError, r"render_mode must be None or one of \[\]"),
        (lambda envs: type(envs)(1, colour="red"), TypeError, "colour"),
    ],
)
def test_bad_input_is_named(line: Any, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(line(3))


def test_a_class_without_its_dynamics_is_refused() -> None:
    class Empty(VectorBase):
        pass

    with pytest.raises(TypeError, match="_advance"):
        Empty(2, decisions=5)  # type: ignore[abstract]
