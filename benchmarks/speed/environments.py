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
    """Draw the torques that every contender applies at every step, shape `(num_envs, 1)`."""
    return np.random.default_rng(0).uniform(-2.0, 2.0, size=(num_envs, 1)).astype(np.float32)


def speed(run: Callable[[], object], steps: int) -> Sample:
    """Sample the environment steps per second of a run that makes `steps` of them, all environments together."""
    return lambda: steps / seconds(run)


def stepping(env: Any, num_envs: int, steps: int, *, resets: bool = False) -> Sample:
    """Sample the speed of environments that begin episodes by themselves, or of one that `resets` after an episode."""
    actions = torques(num_envs)[0] if resets else torques(num_envs)
    env.reset()

    def run() -> None:
        for _ in range(steps):
            truncated = env.step(actions)[3]
            if resets and truncated:
                env.reset()

    return speed(run, steps * num_envs)


def native(num_envs: int, steps: int) -> Sample:
    """Sample the speed of our vector class."""
    return stepping(gym.make_vec("NBPendulum-v0", num_envs=num_envs), num_envs, steps)


def compare(what: str, contenders: dict[str, Sample], rounds: int, target: float | None) -> list[Row]:
    """Compare ours, the first contender, with a peer in the ways in which it can be set up."""
    least = None if target is None else Target(least=target)
    return [Row("environments", what, "steps/s", interleave(contenders, rounds), least)]


def envpool(rounds: int, num_envs: int = 1024) -> list[Row]:
    """Compare with EnvPool's Pendulum-v1, with its own choice of threads, with one, and with one for each core."""
    pool = required("envpool")
    contenders = {OURS: native(num_envs, 5000)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of its own spaces
        for threads in (None, 1, os.cpu_count() or 1):
            options = {} if threads is None else {"num_threads": threads}
            name = f"EnvPool, {'its own number of' if threads is None else threads} threads"
            contenders[name] = stepping(pool.make_gymnasium("Pendulum-v1", num_envs=num_envs, **options), num_envs, 200)
    return compare(f"EnvPool's Pendulum-v1, {num_envs:,} environments", contenders, rounds, target=20.0)


def gymnax(rounds: int, num_envs: int = 16384, steps: int = 200, *, scan: bool = False) -> list[Row]:
    """Compare with gymnax's Pendulum-v1.

    Its step is jitted, which is what a training loop outside of JAX can call, or compiled into one `lax.scan` that
    returns no observations, for a policy compiled along with it.
    """
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
    start = key, jax.jit(reset)(jax.random.split(key, num_envs), params)[1]
    jitted = jax.jit(advance)
    scanned = jax.jit(lambda carry: jax.lax.scan(lambda each, _: (advance(each)[0], None), carry, None, steps))

    def run() -> None:
        carry = start
        for _ in range(steps):
            carry, outputs = jitted(carry)
        jax.block_until_ready(outputs)

    name, peer = "gymnax, jitted step", speed(run, num_envs * steps)
    what = f"gymnax's Pendulum-v1, {num_envs:,} environments"
    if scan:
        what, name = f"{what}, rollout in one call", "gymnax, compiled rollout"
        peer = speed(lambda: jax.block_until_ready(scanned(start)), num_envs * steps)
    return compare(what, {OURS: native(num_envs, 1000), name: peer}, rounds, target=None if scan else 3.0)


def gymnasium(rounds: int, **make: Any) -> list[Row]:
    """Compare with Gymnasium's Pendulum-v1, one environment through `gymnasium.make`."""
    contenders = {
        name: stepping(gym.make(name, **make), 1, 20_000, resets=True) for name in ("NBPendulum-v0", "Pendulum-v1")
    }
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
    "gymnax-scan": lambda rounds: gymnax(rounds, scan=True),
    "gymnasium": gymnasium,
    "gymnasium-unchecked": lambda rounds: gymnasium(rounds, disable_env_checker=True),
}
