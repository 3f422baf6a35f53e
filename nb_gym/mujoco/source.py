"""Which robot is meant: a class of Gymnasium's `MujocoEnv`, the id or the address of one, or the XML of a model."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import gymnasium as gym
import mujoco
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.registration import load_env_creator

from nb_gym.mujoco.model_env import ModelEnv

DECISIONS = 1000
"""Decisions of an episode where nothing else says how many."""

ACCEPTED = (
    "source must be a class of gymnasium.envs.mujoco.MujocoEnv, the id of one such as 'HalfCheetah-v5', its address "
    "'module:Class', or the path of a model that ends with .xml"
)


@dataclass(frozen=True)
class Source:
    """A kind of robot.

    Attributes:
        robot_class: Class of the robots.
        kwargs: Keyword arguments of theirs, before the user's own.
        decisions: Decisions of an episode.
    """

    robot_class: type[MujocoEnv]
    kwargs: Mapping[str, Any]
    decisions: int = DECISIONS

    def make(self, count: int, kwargs: Mapping[str, Any]) -> list[Any]:
        """Make robots, each with a model and data of its own; the XML is compiled once, unless the class sees to it."""
        robot_class: Any = self.robot_class
        if robot_class._initialize_simulation is MujocoEnv._initialize_simulation:
            robot_class = _compiled_once(robot_class)
        return [robot_class(**{**self.kwargs, **kwargs}) for _ in range(count)]


def _compiled_once(robot_class: Any) -> Any:
    compiled: list[Any] = []

    def _initialize_simulation(self: Any) -> tuple[Any, Any]:
        if not compiled:
            compiled.append(MujocoEnv._initialize_simulation(self)[0])
        model = copy.copy(compiled[0])
        return model, mujoco.MjData(model)

    return type(robot_class.__name__, (robot_class,), {"_initialize_simulation": _initialize_simulation})


def find_source(source: Any) -> Source:
    """Find the kind of robot that a user names.

    Raises:
        TypeError: If it is of none of the accepted kinds.
        ValueError: If it names nothing that exists, no MuJoCo environment, or one with wrappers of its own.
    """
    if isinstance(source, PathLike) or (isinstance(source, str) and source.lower().endswith(".xml")):
        return Source(ModelEnv, {"xml_file": fspath(source)})
    if isinstance(source, type):
        return Source(_checked(source, source), {})
    if not isinstance(source, str):
        raise TypeError(f"{ACCEPTED}; got {source!r}")
    try:
        module, _, name = source.rpartition(":")
        if module and hasattr(importlib.import_module(module), name):
            return Source(_checked(load_env_creator(source), source), {})
        spec = gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"{ACCEPTED}; got {source!r}: {error}") from error
    if spec.additional_wrappers:
        names = [each.name for each in spec.additional_wrappers]
        raise ValueError(
            f"source {source!r} has wrappers of its own, {names}: give its class, and wrap what comes of it"
        )
    entry = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    return Source(_checked(entry, source), spec.kwargs, spec.max_episode_steps or DECISIONS)


def _checked(found: Any, source: Any) -> type[MujocoEnv]:
    if not (isinstance(found, type) and issubclass(found, MujocoEnv)):
        raise ValueError(f"{ACCEPTED}; got {source!r}, which is {found!r}")
    return found
