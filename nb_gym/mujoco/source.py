"""Which robot is meant: a class of Gymnasium's `MujocoEnv`, the id or the address of one, or the XML of a model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
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
        """Make robots, each with a model and data of its own; the XML is compiled once."""
        first = self.robot_class(**{**self.kwargs, **kwargs})
        if count == 1:
            return [first]
        compiled = first.model

        class Copied(self.robot_class):  # type: ignore[name-defined, misc]
            def _initialize_simulation(self) -> tuple[Any, Any]:
                model = copy.copy(compiled)
                return model, mujoco.MjData(model)

        return [first, *(Copied(**{**self.kwargs, **kwargs}) for _ in range(count - 1))]


def find_source(source: Any) -> Source:
    """Find the kind of robot that a user names.

    Raises:
        TypeError: If it is of none of the accepted kinds.
        ValueError: If it names nothing that exists, or no MuJoCo environment.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, PathLike) or (isinstance(source, str) and source.endswith(".xml")):
        return Source(ModelEnv, {"xml_file": source})
    if isinstance(source, type):
        return Source(_checked(source, source), {})
    if not isinstance(source, str):
        raise TypeError(f"{ACCEPTED}; got {source!r}")
    try:
        if ":" in source and not source.startswith(("/", "~")) and source.partition(":")[2].isidentifier():
            return Source(_checked(load_env_creator(source), source), {})
        spec = gym.spec(source)
    except (gym.error.Error, ImportError, AttributeError) as error:
        raise ValueError(f"{ACCEPTED}; got {source!r}: {error}") from error
    entry = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    return Source(_checked(entry, source), spec.kwargs, spec.max_episode_steps or DECISIONS)


def _checked(found: Any, source: Any) -> type[MujocoEnv]:
    if not (isinstance(found, type) and issubclass(found, MujocoEnv)):
        raise ValueError(f"{ACCEPTED}; got {source!r}, which is {found!r}")
    return found
