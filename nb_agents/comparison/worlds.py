"""Environments of the user's: made by id or by a function, and changed by keywords or by a wrapper."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from nb_agents.comparison.code import code_of
from nb_agents.comparison.settings import algorithm
from nb_agents.comparison.specification import ComparisonSpec
from nb_agents.vec_env.adapter import VectorEnvAdapter

OURS = "nb_gym"
"""Our environments and wrappers, by name: this package needs no other."""

SHOWN = f"{OURS}.wrappers"
"""Module of the wrappers that put a reported context into the observation."""


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
    except Exception as error:  # the module is the user's, and may fail in any way
        raise ValueError(f"{what} must be written module:function; {text!r} cannot be had: {_said(error)}") from error
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
    except Exception as error:  # of the user's code
        asked = " ".join(f"{name}={value!r}" for name, value in {**spec.common, **keywords}.items())
        raise ValueError(f"env {spec.env} cannot be made with {asked or 'no keywords'}: {_said(error)}") from error
    if not isinstance(env, gym.Env):
        raise ValueError(f"env {spec.env} must make a Gymnasium environment, got {type(env).__name__}")
    return env


def _said(error: Exception) -> str:
    """What an error says, and its kind where that is needed to understand it."""
    plain = isinstance(error, (gym.error.Error, ImportError, TypeError, ValueError, AttributeError))
    return str(error) if plain and str(error) else f"{type(error).__name__}: {error}"


def _registered(env: str) -> EnvSpec | None:
    """What Gymnasium knows of an id, written alone or as module:Id-v0; our own ids are made known first."""
    module, _, name = env.rpartition(":")
    if name not in gym.registry:
        with suppress(ImportError):
            importlib.import_module(module or OURS)
    return gym.registry.get(name)


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
    known = _registered(spec.env)
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
    known = None if spec.wrapper else _registered(spec.env)
    entry = known.vector_entry_point if known else None
    return isinstance(entry, str) and entry.startswith("nb_gym")


def _ranges(spec: ComparisonSpec) -> dict[str, tuple[float, float]]:
    return {name: (ends[0], ends[1]) for name, ends in spec.contexts.items()}


def over_contexts(spec: ComparisonSpec) -> dict[str, Any]:
    """Keywords of the source, with ranges where contexts are drawn."""
    return {**spec.source, **_ranges(spec)}


def check_worlds(spec: ComparisonSpec) -> dict[str, str]:
    """Make source and target once, take a step in each, and hold them against each other.

    Returns:
        What they depend on, see `code_of`.

    Raises:
        ValueError: One cannot be made, fails, or gives what is no number; their spaces differ; or no context is
            reported where one is needed.
    """
    with closing(make_one(spec, spec.source)) as source, closing(make_one(spec, spec.target)) as target:
        for name in ("observation_space", "action_space"):
            here, there = getattr(source, name), getattr(target, name)
            if here != there:
                raise ValueError(f"source and target must have the same {name}, got {here} and {there}")
        for where, env in (("source", source), ("target", target)):
            _check_step(where, env)
        modules = [sys.modules.get(text.partition(":")[0]) for text in (spec.env, spec.wrapper)]
        code = code_of(source, algorithm(spec.algo), *modules)
    if spec.contexts:
        _check_contexts(spec)
    return code


def _check_step(where: str, env: gym.Env[Any, Any]) -> None:
    try:
        env.reset(seed=0)
        if env.has_wrapper_attr("action_masks"):  # not every action may be taken
            return
        env.action_space.seed(0)
        _, reward, *_ = env.step(env.action_space.sample())
    except Exception as error:
        raise ValueError(f"{where} must be an environment that can be reset and stepped: {_said(error)}") from error
    if not np.isfinite(float(reward)):
        raise ValueError(f"{where} must give finite rewards, got {reward!r} in the first step")


def _check_contexts(spec: ComparisonSpec) -> None:
    try:
        with closing(make_one(spec, over_contexts(spec))) as env:
            _, info = env.reset(seed=0)
    except Exception as error:
        raise ValueError(f"contexts must be keywords that {spec.env} takes ranges for: {_said(error)}") from error
    context = info.get("context")
    if not isinstance(context, Mapping) or not spec.contexts.keys() <= context.keys():
        raise ValueError(
            f"contexts need an environment that reports info['context'] with {', '.join(spec.contexts)} at a reset,"
            f" as those of nb_gym do; {spec.env} reports {context!r}"
        )
