"""What a user may set of a pendulum, and what an episode draws from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from nb_gym.context.settings import LIMIT, Index, Parameters, Setting, Value, draw
from nb_gym.pendulum.dynamics import CHANNELS, START_STD, Context


def _check_stable(settings: Mapping[str, Setting]) -> None:
    b, dt = (setting[1] if isinstance(setting, tuple) else setting for setting in (settings["b"], settings["dt"]))
    if np.max(b * dt) >= 2.0:
        raise ValueError(
            f"b * dt must be less than 2, beyond which damping is integrated as growth, got b={b}, dt={dt}"
        )


PARAMETERS = Parameters(
    defaults=Context._field_defaults,
    positive=frozenset({"dt", "max_torque"}),
    not_negative=frozenset({"b"}),
    start=("theta", "theta_dot"),
    check=_check_stable,
)


def parse_options(options: Any, settings: Mapping[str, Setting], num_envs: int | None = None) -> dict[str, Setting]:
    """Check the `options` of a reset, see `Parameters.parse_options`.

    The widest torque limit in `settings` bounds the action space, which the limit of an episode cannot exceed.
    """
    merged = PARAMETERS.parse_options(options, settings, num_envs)
    if np.max(merged["max_torque"]) > np.max(settings["max_torque"]):
        raise ValueError(
            f"max_torque of an episode must be within the action space, at most {np.max(settings['max_torque'])}, "
            f"got {merged['max_torque']!r}"
        )
    return merged


def draw_episode(
    settings: Mapping[str, Setting], rng: np.random.Generator, index: Index = ..., size: int | None = None
) -> dict[str, Value]:
    """Draw the start and the context of new episodes.

    Args:
        settings: Every context parameter, and theta and theta_dot where they are set.
        rng: Generator of the ranges, in the order of `Context`'s fields, and then of θ and θ̇ ~ N(0, 0.1²).
        index: Environments whose episodes begin; selects from settings that are arrays.
        size: Number of episodes, or None for one.

    Returns:
        The angle (rad) `theta`, the angular velocity (rad/s) `theta_dot` and the context parameters; entries that were
        drawn or taken from an array have shape `(size,)`, those set to a number stay one.
    """
    context = {name: draw(settings[name], rng, index, size) for name in Context._fields}
    # The start is drawn even where it is set, so that setting it leaves the episodes that follow as they were.
    start = {name: rng.normal(0.0, START_STD, size=size) for name in PARAMETERS.start}
    set_start = {name: draw(settings[name], rng, index, size) for name in PARAMETERS.start if name in settings}
    return context | start | set_start


def parse_observe(observe: Iterable[str]) -> tuple[str, ...]:
    """Check the names of the observed channels.

    Raises:
        ValueError: If there are none, or a name is unknown or given twice.
    """
    listed = [observe] if isinstance(observe, str) else list(observe) if isinstance(observe, Iterable) else []
    names = tuple(name for name in listed if isinstance(name, str) and name in CHANNELS)
    if not names or len(names) < len(listed) or len(set(names)) < len(names):
        raise ValueError(f"observe must name one or more of {list(CHANNELS)}, each once, got {observe!r}")
    return names


def make_spaces(settings: Mapping[str, Setting], observe: tuple[str, ...]) -> tuple[spaces.Box, spaces.Box]:
    """Make observation and action space of one pendulum; the action space covers the widest `max_torque`."""
    high = np.array([1.0 if name.startswith(("cos_", "sin_")) else LIMIT for name in observe], dtype=np.float32)
    limit = np.float32(np.max(settings["max_torque"]))
    return spaces.Box(-high, high, dtype=np.float32), spaces.Box(-limit, limit, (1,), dtype=np.float32)


def real_time_fps(settings: Mapping[str, Setting], frame_skip: int) -> int:
    """Compute the frames per second, one for each decision, at which a film runs as fast as the average pendulum.

    They are from 1 to a million: beyond there is no film, and a tiny `dt` would give a number that is no integer.
    """
    return round(min(LIMIT, max(1.0, 1.0 / max(float(np.mean(settings["dt"])) * frame_skip, 1.0 / LIMIT))))
