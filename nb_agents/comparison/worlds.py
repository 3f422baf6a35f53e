"""Environments of the user's: made by id or by a function, and changed by keywords or by a wrapper."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from nb_agents.comparison.specification import ComparisonSpec
from nb_agents.vec_env.adapter import VectorEnvAdapter

SHOWN = "nb_gym.wrappers"
"""Module of the wrappers that put a reported context into the observation, by name: this package needs no other."""


def named(text: str, what: str) -> Callable[..., Any]:
    """The function or class that "module:name" names; modules of the working folder are found, as by ``python -m``.

    Raises:
        ValueError: There is none.
    """
    module, _, name = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{what} must be written module:function; {text!r} cannot be had: {error}") from error
    if not callable(found):
        raise ValueError(f"{what} must name a function or a class, got {text!r}, a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def make_one(spec: ComparisonSpec, keywords: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """One environment with the keywords of a task.

    Raises:
        ValueError: It cannot be made.
    """
    given = spec.common if spec.wrapper else {**spec.common, **keywords}
    try:
        options = _options_of_mujoco(spec, given)
        env: Any = _make(spec, {name: value for name, value in given.items() if name not in options})
        for name, value in options.items():
            _set_option(env, name, value)
        if spec.wrapper:
            env = named(spec.wrapper, "wrapper")(env, **keywords)
    except (gym.error.Error, ImportError, TypeError, ValueError, AttributeError) as error:
        asked = " ".join(f"{name}={value!r}" for name, value in {**spec.common, **keywords}.items())
        raise ValueError(f"env {spec.env} cannot be made with {asked or 'no keywords'}: {error}") from error
    if not isinstance(env, gym.Env):
        raise ValueError(f"env {spec.env} must make a Gymnasium environment, got {type(env).__name__}")
    return env


def _make(spec: ComparisonSpec, keywords: Mapping[str, Any]) -> gym.Env[Any, Any]:
    if spec.env in gym.registry or ":" not in spec.env:
        return gym.make(spec.env, **keywords)
    module = spec.env.partition(":")[0]
    try:  # Gymnasium's own "module:Id-v0", where the module registers the id
        return gym.make(spec.env, **keywords)
    except gym.error.NameNotFound:
        made: gym.Env[Any, Any] = named(spec.env, f"env, where {module} registers no such id,")(**keywords)
        return made


def _options_of_mujoco(spec: ComparisonSpec, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords that the class of a MuJoCo environment does not take, and that are options of its model."""
    known = gym.registry.get(spec.env)
    entry = known.entry_point if known else None
    if not isinstance(entry, str) or not entry.startswith("gymnasium.envs.mujoco"):
        return {}
    return {name: value for name, value in keywords.items() if name in ("gravity", "density", "viscosity")}


def _set_option(env: gym.Env[Any, Any], name: str, value: Any) -> None:
    """Set an option of a MuJoCo model, of a vector its last component: gravity's is the vertical one."""
    option: Any = env.unwrapped.model.opt  # type: ignore[attr-defined]
    if name == "gravity":
        option.gravity[-1] = float(value)
    else:
        setattr(option, name, float(value))


def make_worlds(spec: ComparisonSpec, keywords: Mapping[str, Any], num_envs: int, *, shown: bool = False) -> VecEnv:
    """Environments side by side, as SB3 takes them; ``shown`` puts the context beside the observation."""
    if _has_vector_class(spec):
        given = {"autoreset_mode": AutoresetMode.SAME_STEP, **spec.common, **keywords}
        env: Any = gym.make_vec(spec.env, num_envs=num_envs, **given)
        if shown:
            env = named(f"{SHOWN}:vector.ContextObservation", "wrapper")(env, _ranges(spec), key="context")
        return VectorEnvAdapter(env)

    def one() -> gym.Env[Any, Any]:
        env = make_one(spec, keywords)
        if shown:
            env = named(f"{SHOWN}:ContextObservation", "wrapper")(env, _ranges(spec), key="context")
        return Monitor(env)

    return DummyVecEnv([partial(one) for _ in range(num_envs)])


def _has_vector_class(spec: ComparisonSpec) -> bool:
    """Whether the environment has a vector class that resets within the step, as ours do."""
    known = gym.registry.get(spec.env)
    entry = known.vector_entry_point if known and not spec.wrapper else None
    return isinstance(entry, str) and entry.startswith("nb_gym")


def _ranges(spec: ComparisonSpec) -> dict[str, tuple[float, float]]:
    return {name: (ends[0], ends[1]) for name, ends in spec.contexts.items()}


def check_worlds(spec: ComparisonSpec) -> gym.Env[Any, Any]:
    """Make source and target once, and hold them against each other; a target is given back.

    Raises:
        ValueError: One cannot be made, their spaces differ, or no context is reported where one is needed.
    """
    source, target = make_one(spec, spec.source), make_one(spec, spec.target)
    for name in ("observation_space", "action_space"):
        here, there = getattr(source, name), getattr(target, name)
        if here != there:
            raise ValueError(f"source and target must have the same {name}, got {here} and {there}")
    if spec.contexts:
        try:
            _, info = make_one(spec, {name: tuple(ends) for name, ends in spec.contexts.items()}).reset(seed=0)
        except Exception as error:
            raise ValueError(f"contexts must be keywords that {spec.env} takes ranges for: {error}") from error
        context = info.get("context")
        if not isinstance(context, Mapping) or not spec.contexts.keys() <= context.keys():
            raise ValueError(
                f"contexts need an environment that reports info['context'] with {', '.join(spec.contexts)} at a reset,"
                f" as those of nb_gym do; {spec.env} reports {context!r}"
            )
    return target
