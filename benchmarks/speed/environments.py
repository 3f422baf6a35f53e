"""How fast environments step, beside the fastest alternatives, in one process and in interleaved rounds.

In every round each contender runs once, so that whatever else the machine does hits all of them; what counts is the
ratio of speeds within a round. Where a peer can be set up in several ways, the fastest of the round stands for it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import nb_gym  # noqa: F401  # registers the environment
from nb_evaluation.arguments import output_file
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.runs.provenance import write_measurement


@dataclass(frozen=True)
class Contender:
    """Something that makes environment steps.

    Attributes:
        name: as shown.
        run: makes `steps` steps.
        steps: environment steps of one run, all environments together.
    """

    name: str
    run: Callable[[], object]
    steps: int


@dataclass(frozen=True)
class Comparison:
    """Ours and a peer.

    Attributes:
        name: as shown.
        ours: the contender from this repository.
        peers: one peer, in the ways it can be set up.
        target: the ratio of speeds, ours to the peer's, that is to be reached; None where it is only to be known.
    """

    name: str
    ours: Contender
    peers: Sequence[Contender]
    target: float | None


@dataclass(frozen=True)
class Outcome:
    """What the rounds of a comparison gave.

    Attributes:
        comparison: what was compared.
        speeds: steps per second by contender, ours first, each of shape `(rounds,)`.
    """

    comparison: Comparison
    speeds: dict[str, NDArray[np.float64]]

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Our speed over that of the fastest way to run the peer, by round, shape `(rounds,)`."""
        ours, *peers = self.speeds.values()
        ratios: NDArray[np.float64] = ours / np.max(peers, axis=0)
        return ratios

    def as_json(self) -> dict[str, Any]:
        """The figures, for `json.dumps`."""
        return {
            "name": self.comparison.name,
            "target": self.comparison.target,
            "ratio": {"median": np.median(self.ratios), "min": self.ratios.min(), "max": self.ratios.max()},
            "steps_per_second": {name: speeds.tolist() for name, speeds in self.speeds.items()},
        }


def measure(comparison: Comparison, rounds: int) -> Outcome:
    """Run all contenders once for warming up and then `rounds` times in turn, every other round in reverse order."""
    contenders = [comparison.ours, *comparison.peers]
    speeds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.run()
    for i in range(rounds):
        for contender in contenders if i % 2 else reversed(contenders):
            start = time.perf_counter()
            contender.run()
            speeds[contender.name].append(contender.steps / (time.perf_counter() - start))
    return Outcome(comparison, {name: np.array(values) for name, values in speeds.items()})


def torques(num_envs: int) -> NDArray[np.float32]:
    """The torques that every contender applies at every step, shape `(num_envs, 1)`."""
    return np.random.default_rng(0).uniform(-2.0, 2.0, size=(num_envs, 1)).astype(np.float32)


def batch_contender(name: str, envs: Any, num_envs: int, steps: int) -> Contender:
    """A batch of environments behind `reset()` and `step(actions)`, with autoreset."""
    actions = torques(num_envs)
    envs.reset()

    def run() -> None:
        for _ in range(steps):
            envs.step(actions)

    return Contender(name, run, steps * num_envs)


def single_contender(name: str, env: gym.Env[Any, Any], steps: int) -> Contender:
    """One environment, reset by the loop at the end of an episode."""
    action = torques(1)[0]
    env.reset(seed=0)

    def run() -> None:
        for _ in range(steps):
            if env.step(action)[3]:
                env.reset()

    return Contender(name, run, steps)


def native(num_envs: int, steps: int) -> Contender:
    """Our vector class."""
    return batch_contender("NBPendulumVectorEnv", gym.make_vec("NBPendulum-v0", num_envs=num_envs), num_envs, steps)


def envpool(num_envs: int = 1024) -> Comparison:
    """Pendulum-v1 of EnvPool, with its own choice of threads, with one, and with one for each core."""
    pool = required("envpool")
    peers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of its own spaces
        for threads in (None, 1, os.cpu_count() or 1):
            options = {} if threads is None else {"num_threads": threads}
            envs = pool.make_gymnasium("Pendulum-v1", num_envs=num_envs, **options)
            name = f"EnvPool, {'its own number of' if threads is None else threads} threads"
            peers.append(batch_contender(name, envs, num_envs, steps=200))
    return Comparison(f"EnvPool's Pendulum-v1, {num_envs:,} environments", native(num_envs, 5000), peers, target=20.0)


def gymnax(num_envs: int = 16384, steps: int = 200) -> Comparison:
    """Pendulum-v1 of gymnax, its step jitted: what a training loop outside of JAX can call."""
    advance, start = _gymnax_step(num_envs)
    jitted = required("jax").jit(advance)

    def run() -> None:
        carry = start
        for _ in range(steps):
            carry, outputs = jitted(carry)
        required("jax").block_until_ready(outputs)

    peer = Contender("gymnax, jitted step", run, num_envs * steps)
    return Comparison(f"gymnax's Pendulum-v1, {num_envs:,} environments", native(num_envs, 1000), [peer], target=3.0)


def gymnax_scan(num_envs: int = 16384, steps: int = 200) -> Comparison:
    """The same compiled into one `lax.scan` that returns no observations, for a policy compiled along with it."""
    jax = required("jax")
    advance, start = _gymnax_step(num_envs)
    scanned = jax.jit(lambda carry: jax.lax.scan(lambda each, _: (advance(each)[0], None), carry, None, steps))
    peer = Contender("gymnax, compiled rollout", lambda: jax.block_until_ready(scanned(start)), num_envs * steps)
    title = f"gymnax's Pendulum-v1, {num_envs:,} environments, rollout in one call"
    return Comparison(title, native(num_envs, 1000), [peer], target=None)


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


def gymnasium(**make: Any) -> Comparison:
    """Pendulum-v1 of Gymnasium, one environment through `gymnasium.make`."""
    ours, theirs = (
        single_contender(name, gym.make(name, **make), steps=20_000) for name in ("NBPendulum-v0", "Pendulum-v1")
    )
    title = "Gymnasium's Pendulum-v1, one environment" + (", unchecked" if make else "")
    return Comparison(title, ours, [theirs], target=2.0)


COMPARISONS: dict[str, Callable[[], Comparison]] = {
    "envpool": envpool,
    "gymnax": gymnax,
    "gymnax-scan": gymnax_scan,
    "gymnasium": gymnasium,
    "gymnasium-unchecked": lambda: gymnasium(disable_env_checker=True),
}


def required(module: str) -> Any:
    """Import a peer, or stop with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SystemExit(f'{error}: the peers come with pip install "neural-battery[peers]"') from error


def table(outcomes: Sequence[Outcome]) -> Table:
    """The figures, to be printed."""
    result = Table(title="environment steps per second (medians), and ratios within a round")
    for column, justify in (("", "left"), ("steps/s", "right"), ("ratio", "right"), ("min-max", "right")):
        result.add_column(column, justify=justify)  # type: ignore[arg-type]  # rich takes literals only
    for outcome in outcomes:
        ratios, target = outcome.ratios, outcome.comparison.target
        median, spread = (
            f"{np.median(ratios):.2f}" + (f" (≥ {target:g})" if target else ""),
            f"{ratios.min():.2f}-{ratios.max():.2f}",
        )
        result.add_row(outcome.comparison.name, "", median, spread, style="bold")
        for name, speeds in outcome.speeds.items():
            result.add_row(f"  {name}", f"{np.median(speeds):,.0f}", "", "")
        result.add_section()
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file that was asked for; see `--help`."""
    any_terminal()
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS), metavar="NAME",
                        help=f"comparisons to make, of: {', '.join(COMPARISONS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 11")
    parser.add_argument("--json", type=output_file, metavar="PATH", help="also write the figures to this file")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    outcomes = [measure(COMPARISONS[name](), rounds=3 if options.quick else 11) for name in options.only]
    make_console().print(table(outcomes))
    if options.json is not None:
        command = shlex.join(["python", "-m", "benchmarks", "throughput", *arguments])
        write_measurement(options.json, command=command, comparisons=[outcome.as_json() for outcome in outcomes])


if __name__ == "__main__":
    main()
