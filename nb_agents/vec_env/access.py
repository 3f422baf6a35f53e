"""The single environments inside a Gymnasium `VectorEnv`: their attributes, methods and wrappers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import AlreadyPendingCallError
from gymnasium.vector import AsyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.async_vector_env import AsyncState
from stable_baselines3.common.env_util import is_wrapped

AnyVectorEnv = VectorEnv[Any, Any, Any]


def layers(env: AnyVectorEnv) -> Iterator[AnyVectorEnv]:
    """The vector environment with its wrappers, the outermost first."""
    while isinstance(env, VectorWrapper):
        yield env
        env = env.env
    yield env


def single_envs(env: AnyVectorEnv) -> _InThisProcess | _InWorkers | _Native:
    """The single environments: in this process, in workers, or none of their own.

    All three have the methods `has`, `get`, `set` and `call` for an attribute or method by its name, and `wrapped` for
    a class of wrappers; they take the indices of the environments and return one entry for each.
    """
    inner = env.unwrapped
    if isinstance(inner, AsyncVectorEnv):
        return _InWorkers(inner)
    envs = getattr(inner, "envs", None)
    if isinstance(envs, (list, tuple)) and len(envs) == env.num_envs and all(isinstance(e, gym.Env) for e in envs):
        return _InThisProcess(envs)
    return _Native(env)


class _InThisProcess:
    """`SyncVectorEnv` and what is built like it: a list of environments."""

    def __init__(self, envs: Sequence[gym.Env[Any, Any]]) -> None:
        self.envs = envs

    def has(self, name: str, indices: Sequence[int]) -> list[bool]:
        return [self.envs[i].has_wrapper_attr(name) for i in indices]

    def get(self, name: str, indices: Sequence[int]) -> list[Any]:
        return [self.envs[i].get_wrapper_attr(name) for i in indices]

    def set(self, name: str, value: Any, indices: Sequence[int]) -> None:
        for i in indices:
            self.envs[i].set_wrapper_attr(name, value)

    def call(self, name: str, indices: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        return [self.envs[i].get_wrapper_attr(name)(*args, **kwargs) for i in indices]

    def wrapped(self, wrapper_class: type[Any], indices: Sequence[int]) -> list[bool]:
        return [is_wrapped(self.envs[i], wrapper_class) for i in indices]


class _InWorkers:
    """`AsyncVectorEnv`: a worker answers what is asked of its environment, and ends at the first error.

    So nothing is asked that could fail for want of an attribute. `AsyncVectorEnv.call` asks all workers at once;
    here only those chosen are asked, in the same words.
    """

    _NOT_TO_BE_CALLED = frozenset({"reset", "step", "close", "_setattr", "_check_spaces"})  # in Gymnasium's worker

    def __init__(self, env: AsyncVectorEnv) -> None:
        self.env = env

    def _ask(self, command: str, question: Any, indices: Sequence[int]) -> list[Any]:
        env: Any = self.env
        env._assert_is_running()
        if env._state is not AsyncState.DEFAULT:
            state = str(env._state.value)
            raise AlreadyPendingCallError(f"the workers have not yet answered a call of {state!r}: wait for it", state)
        gone = [i for i in indices if env.parent_pipes[i] is None]
        if gone:
            raise RuntimeError(
                f"the workers of environments {gone} have ended with an error: make the environment anew"
            )
        for i in indices:
            env.parent_pipes[i].send((command, question))
        answers = [(i, *env.parent_pipes[i].recv()) for i in indices]
        failed = {i for i, _, success in answers if not success}
        env._raise_if_errors([i not in failed for i in range(env.num_envs)])
        return [answer for _, answer, _ in answers]

    def has(self, name: str, indices: Sequence[int]) -> list[bool]:
        return self._ask("_call", ("has_wrapper_attr", (name,), {}), indices)

    def _check(self, name: str, indices: Sequence[int]) -> None:
        lacking = [i for i, has in zip(indices, self.has(name, indices), strict=True) if not has]
        if lacking:
            raise AttributeError(f"environments {lacking} have no attribute {name!r}")

    def get(self, name: str, indices: Sequence[int]) -> list[Any]:
        self._check(name, indices)
        # Not by its own name: Gymnasium's worker would call what is callable.
        return self._ask("_call", ("get_wrapper_attr", (name,), {}), indices)

    def set(self, name: str, value: Any, indices: Sequence[int]) -> None:
        self._ask("_setattr", (name, value), indices)

    def call(self, name: str, indices: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        if name in self._NOT_TO_BE_CALLED:
            raise ValueError(
                f"workers of AsyncVectorEnv cannot be asked to call {name!r}; use the adapter's own methods"
            )
        self._check(name, indices)
        return self._ask("_call", (name, args, kwargs), indices)

    def wrapped(self, wrapper_class: type[Any], indices: Sequence[int]) -> list[bool]:
        """Whether they are wrapped, as far as their description and their attributes tell.

        A worker hands out no classes. Its environment describes itself as `<Monitor<TimeLimit<Walk instance>>>`, and
        one that is wrapped has what the class adds to every wrapper; both must hold. Where one of them describes itself
        in another way, the attributes decide if there are any, and else the beginnings of the names.
        """
        names = {each.__name__ for each in _with_subclasses(wrapper_class)}
        added = [name for name in dir(wrapper_class) if not name.startswith("_") and not hasattr(gym.Wrapper, name)]
        texts: list[str] = self._ask("_call", ("__str__", (), {}), indices)
        found = [_is_among(names, text) or (bool(added) and not _tells_all(text)) for text in texts]
        for name in added if any(found) else ():
            found = [a and b for a, b in zip(found, self.has(name, indices), strict=True)]
        return found


class _Native:
    """A vector class without environments of its own, perhaps wrapped: an array with an entry for each is split."""

    def __init__(self, env: AnyVectorEnv) -> None:
        self.env = env

    def _holder(self, name: str) -> AnyVectorEnv | None:
        return next((layer for layer in layers(self.env) if hasattr(layer, name)), None)

    def has(self, name: str, indices: Sequence[int]) -> list[bool]:
        return [self._holder(name) is not None for _ in indices]

    def get(self, name: str, indices: Sequence[int]) -> list[Any]:
        holder = self._holder(name)
        value = getattr(self.env.unwrapped if holder is None else holder, name)
        per_env = isinstance(value, np.ndarray) and value.shape[:1] == (self.env.num_envs,)
        return [value[i] if per_env else value for i in indices]

    def set(self, name: str, value: Any, indices: Sequence[int]) -> None:
        inner, holder = type(self.env.unwrapped).__name__, self._holder(name)
        if len(set(indices)) != self.env.num_envs:
            raise AttributeError(f"{inner} cannot set {name!r} for some of its environments only")
        if holder is None:
            raise AttributeError(f"{inner} has no attribute {name!r}")
        setattr(holder, name, value)

    def call(self, name: str, indices: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        raise AttributeError(f"{type(self.env.unwrapped).__name__} has no environments of its own to call {name!r} on")

    def wrapped(self, wrapper_class: type[Any], indices: Sequence[int]) -> list[bool]:
        return [False for _ in indices]


def _with_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)


def _tells_all(text: str) -> bool:
    """Whether the environment and every wrapper describe themselves as Gymnasium's base classes do."""
    return re.fullmatch(r"(<\w+)+(<[\w:./-]+>| instance)>+", text) is not None


def _is_among(names: set[str], text: str) -> bool:
    """Whether one of the names is a wrapper's in a description."""
    if _tells_all(text):
        return not names.isdisjoint(re.findall(r"<(\w+)(?=<)", text))
    return any(f"<{name}" in text for name in names)
