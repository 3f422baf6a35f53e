"""Tasks: what may vary between environments, checked at the entry and laid out in one vector environment."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import (
    EnvSpec,
    find_highest_version,
    get_env_id,
    load_env_creator,
    parse_env_id,
)
from gymnasium.vector import SyncVectorEnv, VectorEnv

EnvFactory: TypeAlias = str | Callable[..., gym.Env[Any, Any]]
"""An id for `gymnasium.make`, or a callable that takes a task's keywords (`Environments` is one)."""
Task: TypeAlias = Mapping[str, Any]
"""Keyword arguments of an environment."""
Spaces: TypeAlias = tuple[gym.Space[Any], gym.Space[Any]]
"""Those of observations and actions."""
TaskSampler: TypeAlias = Callable[[np.random.Generator, int], Sequence[Task]]
"""Draws the given number of tasks with the given generator."""


@dataclass(frozen=True)
class Environments:
    """Makers of environments that are not registered, or are wrapped: one, or natively many at once.

    Attributes:
        make: Function from a task's keywords to an environment.
        make_vec: Function from ``num_envs`` and keywords to a vector environment.
        per_env_kwargs: The keywords that may differ between its environments, with the shape of one value;
            ``make_vec`` gets an array ``(num_envs, *shape)`` for each, and the common value for any other keyword.
    """

    make: Callable[..., gym.Env[Any, Any]]
    make_vec: Callable[..., VectorEnv[Any, Any, Any]]
    per_env_kwargs: Mapping[str, tuple[int, ...]]

    def __call__(self, **task: Any) -> gym.Env[Any, Any]:
        """One environment of a task."""
        return self.make(**task)

    @classmethod
    def registered(cls, env_id: str) -> Environments | None:
        """Those of a registered id that has a vector class of its own."""
        entry_point = _spec(env_id).vector_entry_point
        if entry_point is None:
            return None
        vector_class = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
        return cls(
            make=partial(gym.make, env_id),
            make_vec=partial(gym.make_vec, env_id, vectorization_mode="vector_entry_point"),
            per_env_kwargs=getattr(vector_class, "metadata", {}).get("per_env_kwargs", {}),
        )


def _spec(env_id: str) -> EnvSpec:
    """The specification of any id that `gymnasium.make` takes: with a module to import first, without a version."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    namespace, bare, version = parse_env_id(name)
    if version is None:
        version = find_highest_version(namespace, bare)
    return gym.spec(get_env_id(namespace, bare, version))


class TaskSource:
    """The source of each meta-iteration's tasks.

    Args:
        env: The environment.
        tasks: A list of keyword dicts, or a sampler.
        size: Number of tasks per meta-iteration; None for all of a list. Also an attribute.

    Raises:
        TypeError: If ``tasks`` is neither, or a task is not a dict of keywords.
        ValueError: If there are no tasks, ``size`` does not fit them, or their environments' spaces differ.
    """

    def __init__(self, env: EnvFactory, tasks: Sequence[Task] | TaskSampler, size: int | None) -> None:
        self._env = env
        self._spaces: Spaces | None = None
        self._tasks: list[Task] | TaskSampler
        if callable(tasks):
            self._tasks = tasks
            if size is None:
                raise ValueError("tasks_per_iteration must be given where tasks is a sampler, got None")
            self.size = size
            return
        if not isinstance(tasks, Iterable) or isinstance(tasks, Mapping):
            raise TypeError(f"tasks must be a list of keyword dicts or a sampler, got {tasks!r}")
        self._tasks = list(tasks)
        if not self._tasks:
            raise ValueError("tasks must be a non-empty list of keyword dicts or a sampler, got no tasks")
        if size is not None and size > len(self._tasks):
            raise ValueError(f"tasks_per_iteration must be at most the number of tasks, {len(self._tasks)}, got {size}")
        self.size = len(self._tasks) if size is None else size
        self._spaces = check_tasks(env, self._tasks)

    def draw(self, rng: np.random.Generator) -> list[Task]:
        """The next meta-iteration's tasks: the whole list (always the same object), some of it, or new ones.

        Raises:
            TypeError: If a sampler does not return dicts of keywords.
            ValueError: If it does not return as many as asked for, or their environments are not as those before.
        """
        if callable(self._tasks):
            drawn = self._tasks(rng, self.size)
            if not isinstance(drawn, Iterable) or isinstance(drawn, Mapping):
                raise TypeError(f"tasks, a sampler, must return a list of keyword dicts, got {drawn!r}")
            tasks = list(drawn)
            if len(tasks) != self.size:
                raise ValueError(f"tasks, a sampler, was asked for {self.size} tasks and returned {len(tasks)}")
            self._spaces = check_tasks(self._env, tasks, self._spaces)
            return tasks
        if self.size == len(self._tasks):
            return self._tasks
        return [self._tasks[i] for i in rng.choice(len(self._tasks), self.size, replace=False)]


def check_tasks(env: EnvFactory, tasks: Sequence[Task], spaces: Spaces | None = None) -> Spaces:
    """Build each task's environment once; return the spaces they share.

    Args:
        env: The environment.
        tasks: At least one task.
        spaces: Spaces that they must have; those of the first by default.

    Raises:
        TypeError: If a task is not a dict of keywords.
        ValueError: If there are no tasks, an environment does not take a task's keywords, or spaces differ.
    """
    for i, task in enumerate(tasks):
        made = make_env(env, task, spaces, name=f"tasks[{i}]")
        made.close()
        spaces = made.observation_space, made.action_space
    if not len(tasks) or spaces is None:
        raise ValueError("tasks must be a non-empty list of keyword dicts, got no tasks")
    return spaces


def make_env(env: EnvFactory, task: Task, spaces: Spaces | None = None, name: str = "task") -> gym.Env[Any, Any]:
    """One environment of a task.

    Args:
        env: The environment.
        task: The task.
        spaces: Spaces that it must have, None for any.
        name: Name of the task, for messages.

    Raises:
        TypeError: If the task is not a dict of keywords.
        ValueError: If the environment does not take the keywords or their values, or its spaces are others.
    """
    if not isinstance(task, Mapping) or not all(isinstance(key, str) for key in task):
        raise TypeError(f"{name} must be a dict of the environment's keywords, got {task!r}")
    try:
        made = gym.make(env, disable_env_checker=True, **task) if isinstance(env, str) else env(**task)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be keywords that the environment {env!r} accepts, got {dict(task)!r}: {error}"
        ) from error
    for attribute, expected in zip(("observation_space", "action_space"), spaces or (), strict=False):
        if getattr(made, attribute) != expected:
            made.close()
            raise ValueError(
                f"all tasks must have equal spaces: {attribute} of {name} is {getattr(made, attribute)}, "
                f"of those before {expected}"
            )
    return made


def make_task_envs(env: EnvFactory, tasks: Sequence[Task], episodes: int) -> VectorEnv[Any, Any, Any]:
    """One vector environment with ``episodes`` environments for each task, those of a task next to each other.

    An environment's own vector class is used where it can hold all tasks at once. It says so in its metadata:
    ``per_env_kwargs`` maps each keyword that may differ between its environments to the shape of one value, and the
    class takes an array ``(num_envs, *shape)`` for it. Otherwise this is a `SyncVectorEnv` of single environments.

    Args:
        env: The environment.
        tasks: The tasks.
        episodes: Number of environments per task.
    """
    native = Environments.registered(env) if isinstance(env, str) else env
    if isinstance(native, Environments):
        kwargs = _vector_kwargs(native.per_env_kwargs, tasks, episodes)
        if kwargs is not None:
            return native.make_vec(num_envs=len(tasks) * episodes, **kwargs)
    makers = [partial(make_env, env, task) for task in tasks for _ in range(episodes)]
    return SyncVectorEnv(makers)


def _vector_kwargs(
    shapes: Mapping[str, tuple[int, ...]], tasks: Sequence[Task], episodes: int
) -> dict[str, Any] | None:
    """The tasks as keywords of one vector environment, None where it could not hold them."""
    if any(task.keys() != tasks[0].keys() for task in tasks):
        return None
    kwargs: dict[str, Any] = {}
    for key in tasks[0]:
        values = [task[key] for task in tasks]
        if key in shapes and all(np.shape(value) == shapes[key] for value in values):
            kwargs[key] = np.repeat(np.asarray(values, dtype=np.float64), episodes, axis=0)
        elif all(_equal(value, values[0]) for value in values):
            kwargs[key] = values[0]
        else:
            return None
    return kwargs


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(np.array_equal(a, b))
