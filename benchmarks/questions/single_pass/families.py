"""The families of hidden contexts: what is drawn in training, and what is measured afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray

import nb_gym
from benchmarks.protocol.environments import fixed_starts, make_vector_env
from benchmarks.protocol.settings import PPOSettings
from nb_gym.wrappers.vector import ContextObservation, HistoryObservation

NUM_ENVS, DECISIONS, STEPS = 24, 50, 8
"""Environments of a training, decisions of an episode, and transitions in a history."""

FLIP = 25
"""Decision at which the actuator turns around: half of the episode, physics step 500."""

FALLEN = 6.0
"""Angle (rad) beyond which a training goes on with a new episode."""

MAX_TORQUE: float = nb_gym.Context._field_defaults["max_torque"]

EVAL_STARTS = 12
"""Number of the fixed starts that each context is measured from."""

SETTINGS = PPOSettings(num_envs=NUM_ENVS, n_steps=25, batch_size=60, n_epochs=10, ent_coef=0.01)
"""PPO's of all methods; what differs from the protocol's was chosen on M and seeds below 100, see `learners.evened`."""

Context = dict[str, Any]
"""Parameters by name."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Pendulums whose context is hidden.

    Attributes:
        summary: What is hidden, in words.
        ranges: What a policy that is told the context sees as −1 and 1, by parameter.
        gains: Gains of the actuator, each in as many environments of a training; empty for 1 everywhere.
        drawn: Ranges of what is drawn for each episode of a training.
        in_range: Contexts to measure in that a training has, or could have, drawn.
        held_out: Those that it could not.
        without: Channels of the protocol that are not observed.
    """

    summary: str
    ranges: Mapping[str, tuple[float, float]]
    gains: tuple[float, ...] = ()
    drawn: Mapping[str, tuple[float, float]]
    in_range: tuple[Context, ...]
    held_out: tuple[Context, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def contexts(self) -> tuple[Context, ...]:
        """All contexts to measure in."""
        return self.in_range + self.held_out

    def holdable(self, part: tuple[Context, ...]) -> NDArray[np.bool_]:
        """Whether a torque can cancel the drive in each of some contexts; where none can, falling decides the mean."""
        gains = [abs(context.get("torque_gain", 1.0)) for context in part]
        return np.array(gains) * MAX_TORQUE >= [context.get("A", 1.0) for context in part]

    @property
    def settings(self) -> PPOSettings:
        """`SETTINGS` with the family's channels."""
        return replace(SETTINGS, observe={k: v for k, v in SETTINGS.observe.items() if k not in self.without})

    def training(self, num_envs: int = NUM_ENVS) -> dict[str, Any]:
        """Context of the environments of a training; the gains are dealt out, so that each is seen as often."""
        return dict(self.drawn) | ({"torque_gain": np.resize(self.gains, num_envs)} if self.gains else {})

    def tasks(self, rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
        """The same as tasks of a meta-learner."""
        gains = np.resize(self.gains or (1.0,), n).tolist()
        drawn = {name: rng.uniform(*ends, size=n).tolist() for name, ends in self.drawn.items()}
        return [{"torque_gain": gain, **{name: drawn[name][i] for name in drawn}} for i, gain in enumerate(gains)]


def _grid(**values: tuple[float, ...]) -> tuple[Context, ...]:
    return tuple(dict(zip(values, each, strict=True)) for each in product(*values.values()))


M_GAINS, DRIVES = (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5), (1.0, 1.25, 1.5)
PHASES = (0.0, 0.5 * math.pi, math.pi, 1.5 * math.pi)

DRIVE: dict[str, tuple[float, float]] = {"A": (1.0, 1.5)}
WAVE = {"omega": (0.5, 1.0), "phase": (0.0, 2.0 * math.pi)}

FAMILIES = {
    "S": Family(
        summary="the actuator's sign", ranges={"torque_gain": (-1.0, 1.0)}, gains=(-1.0, 1.0), drawn={},
        in_range=_grid(torque_gain=(-1.0, 1.0)),
    ),
    "M": Family(
        summary="the actuator's sign and strength, and the drive's", ranges={"torque_gain": (-1.5, 1.5), **DRIVE},
        gains=M_GAINS, drawn=DRIVE, in_range=_grid(torque_gain=M_GAINS, A=DRIVES),
        held_out=_grid(torque_gain=(-1.5, -1.0, 1.0, 1.5), A=(1.8,)) + _grid(torque_gain=(-2.0, 2.0), A=DRIVES),
    ),
    "P": Family(
        summary="the drive's amplitude, as published", ranges=DRIVE, drawn=DRIVE,
        in_range=_grid(A=DRIVES), held_out=_grid(A=(1.8,)),
    ),
    "W": Family(
        summary="the drive's frequency and phase, and no clock", ranges=WAVE, drawn=WAVE,
        in_range=_grid(omega=(0.5, 0.75, 1.0), phase=PHASES), held_out=_grid(omega=(0.25, 1.5), phase=PHASES),
        without=("sin_drive", "cos_drive"),
    ),
}  # fmt: skip


class EndsWithAFall(VectorWrapper):
    """Truncates an episode of a training when the pendulum has turned by more than `FALLEN`.

    What decides whether it falls are the first decisions. An episode that fell is long, of one kind, and says nothing
    of them; without this some teachers never learn in which direction a weak actuator works.
    """

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make a decision."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        theta, _ = self.env.unwrapped.state
        return observation, reward, terminated, truncated | (np.abs(theta) > FALLEN), info


class TurnedAround(VectorWrapper):
    """Negates the torques from decision `FLIP` on, which is what an actuator of the other sign does with them."""

    _made = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin all episodes."""
        self._made = 0
        return self.env.reset(**options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make a decision."""
        self._made += 1
        return self.env.step(-actions if self._made > FLIP else actions)


def worlds(family: Family, view: str, num_envs: int, *, flips: bool = False, **context: Any) -> Any:
    """Pendulums of a family; `view` is what is shown beside the observation: "context", "history", or nothing ("")."""
    env = make_vector_env(family.settings, num_envs, **context)
    env = TurnedAround(env) if flips else env
    if view == "context":
        return ContextObservation(env, family.ranges)
    return HistoryObservation(env, STEPS) if view == "history" else env


def play(
    policy: Any, family: Family, view: str, *, episodes: int = 1, flips: bool = False, remembers: bool = False
) -> NDArray[np.float64]:
    """Let a deterministic policy act from fixed starts, episode after episode.

    Args:
        policy: Policy of SB3, or a list of one for each context.
        family: The family, whose contexts are all played.
        view: See `worlds`.
        episodes: Number of episodes in each.
        flips: Whether the actuator turns around in mid-episode.
        remembers: Whether the policy is a student, whose window goes on from one episode to the next.

    Returns:
        Mean rewards over the starts, `(episodes, decisions, contexts)`.
    """
    if isinstance(policy, list):
        alone = [replace(family, in_range=(context,), held_out=()) for context in family.contexts]
        each = [play(one, here, view, episodes=episodes, flips=flips) for one, here in zip(policy, alone, strict=True)]
        return np.concatenate(each, axis=2)
    n = len(family.contexts) * EVAL_STARTS
    names = family.contexts[0]
    context = {name: np.repeat([each[name] for each in family.contexts], EVAL_STARTS) for name in names}
    env: Any = worlds(family, view, n, flips=flips, **context)
    state: Any = None
    rewards = []
    for number in range(episodes):
        theta, theta_dot = (np.resize(np.roll(s, -EVAL_STARTS * number)[:EVAL_STARTS], n) for s in fixed_starts())
        observation, _ = env.reset(options={"theta": theta, "theta_dot": theta_dot})
        begins = np.full(n, not (remembers and number))
        if remembers and number:  # no action has led from the last episode to this one
            state = state._replace(action=np.full_like(state.action, np.nan))
        for _ in range(DECISIONS):
            action, state = policy.predict(observation, state, episode_start=begins, deterministic=True)
            observation, reward, *_ = env.step(action)
            rewards.append(reward.reshape(-1, EVAL_STARTS).mean(axis=1))
            begins = np.zeros(n, dtype=np.bool_)
    env.close()
    return np.reshape(rewards, (episodes, DECISIONS, -1))
