"""How fast environments step, beside the fastest alternatives."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import Sample, interleave, seconds

OURS = "NBPendulumVectorEnv"


def torques(num_envs: int) -> NDArray[np.float32]:
    """The torques that every contender applies at every step, shape `(num_envs, 1)`."""
    return np.random.default_rng(0).uniform(-2.0, 2.0, size=(num_envs, 1)).astype(np.float32)


def speed(run: Callable[[], object], steps: int) -> Sample:
    """Environment steps per second, of a run that makes `steps` of them, all environments together."""
    return lambda: steps / seconds(run)


def batch(envs: Any, num_envs: int, steps: int) -> Sample:
    """A batch of environments behind `reset()` and `step(actions)`, with autoreset."""
    actions = torques(num_envs)
    envs.reset()

    def run() -> None:
        for _ in range(steps):
            envs.step(actions)

    return speed(run, steps * num_envs)


def single(env: gym.Env[Any, Any], steps: int) -> Sample:
    """One environment, reset by the loop at the end of an episode."""
    action = torques(1)[0]
    env.reset(seed=0)

    def run() -> None:
        for _ in range(steps):
            if env.step(action)[3]:
                env.reset()

    return speed(run, steps)


def native(num_envs: int, steps: int) -> Sample:
    """Our vector class."""
    return batch(gym.make_vec("NBPendulum-v0", num_envs=num_envs), num_envs, steps)


def compare(what: str, contenders: dict[str, Sample], rounds: int, target: float | None) -> list[Row]:
    """Ours, the first contender, beside a peer in the ways in which it can be set up."""
    least = None if target is None else Target(least=target)
    return [Row("environments", what, "steps/s", interleave(contenders, rounds), least)]


def envpool(rounds: int, num_envs: int = 1024) -> list[Row]:
    """Pendulum-v1 of EnvPool, with its own choice of threads, with one, and with one for each core."""
    pool = required("envpool")
    contenders = {OURS: native(num_envs, 5000)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of its own spaces
        for threads in (None, 1, os.cpu_count() or 1):
            options = {} if threads is None else {"num_threads": threads}
            name = f"EnvPool, {'its own number of' if threads is None else threads} threads"
            contenders[name] = batch(pool.make_gymnasium("Pendulum-v1", num_envs=num_envs, **options), num_envs, 200)
    return compare(f"EnvPool's Pendulum-v1, {num_envs:,} environments", contenders, rounds, target=20.0)


def gymnax(rounds: int, num_envs: int = 16384, steps: int = 200) -> list[Row]:
    """Pendulum-v1 of gymnax, its step jitted: what a training loop outside of JAX can call."""
    advance, start = _gymnax_step(num_envs)
    jitted = required("jax").jit(advance)

    def run() -> None:
        carry = start
        for _ in range(steps):
            carry, outputs = jitted(carry)
        required("jax").block_until_ready(outputs)

    contenders = {OURS: native(num_envs, 1000), "gymnax, jitted step": speed(run, num_envs * steps)}
    return compare(f"gymnax's Pendulum-v1, {num_envs:,} environments", contenders, rounds, target=3.0)


def gymnax_scan(rounds: int, num_envs: int = 16384, steps: int = 200) -> list[Row]:
    """The same compiled into one `lax.scan` that returns no observations, for a policy compiled along with it."""
    jax = required("jax")
    advance, start = _gymnax_step(num_envs)
    scanned = jax.jit(lambda carry: jax.lax.scan(lambda each, _: (advance(each)[0], None), carry, None, steps))
    peer = speed(lambda: jax.block_until_ready(scanned(start)), num_envs * steps)
    title = f"gymnax's Pendulum-v1, {num_envs:,} environments, rollout in one call"
    return compare(title, {OURS: native(num_envs, 1000), "gymnax, compiled rollout": peer}, rounds, target=None)


def _gymnax_step(num_envs: int) -> tuple[Callable[[Any], Any], Any]:
    """A step of all environments, from and to (key, state), and where it starts."""
    jax = required("jax")
    env, params = required("gymnax").make("Pendulum-v1")
    actions = jax.numpy.asarray(torques(num_envs))
    reset = jax.vmap(env.reset, in_axes=(0, None))
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    def advance(carry: Any) -> tuple[Any, Any]:
        key, state = carry
        key, now = jax.random.split(key)
        observations, state, rewards, *_ = step(jax.random.split(now, num_envs), state, actions, params)
        return (key, state), (observations, rewards)

    key = jax.random.PRNGKey(0)
    return advance, (key, jax.jit(reset)(jax.random.split(key, num_envs), params)[1])


def gymnasium(rounds: int, **make: Any) -> list[Row]:
    """Pendulum-v1 of Gymnasium, one environment through `gymnasium.make`."""
    contenders = {name: single(gym.make(name, **make), 20_000) for name in ("NBPendulum-v0", "Pendulum-v1")}
    title = "Gymnasium's Pendulum-v1, one environment" + (", unchecked" if make else "")
    return compare(title, contenders, rounds, target=2.0)


def required(module: str) -> Any:
    """Import a peer, or stop with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SystemExit(f'{error}: the peers come with pip install "neural-battery[peers]"') from error


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {
    "envpool": envpool,
    "gymnax": gymnax,
    "gymnax-scan": gymnax_scan,
    "gymnasium": gymnasium,
    "gymnasium-unchecked": lambda rounds: gymnasium(rounds, disable_env_checker=True),
}
