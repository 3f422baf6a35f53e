"""What may be set of a robot: the names that its model and its class allow, and the settings that a user gives."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nb_gym.context.arguments import parse_mapping
from nb_gym.context.settings import Parameters, Setting

PART_OF = {
    "friction": "body",
    "mass": "body",
    "size": "body",
    "damping": "joint",
    "armature": "joint",
    "gain": "actuator",
    "sensor": "observation",
    "noise": "observation",
}
"""What a parameter may name, behind an underscore: `mass_torso` is the mass of the body `torso`."""

DEFAULTS = {name: 0.0 if name == "noise" else 1.0 for name in ("gravity", *PART_OF)}
"""Values that change nothing: factors of 1, and no noise."""

REWARDS = ("direction", "heading", "target_velocity")
"""What a context may change of the reward, see `rewards`."""

_POSITIVE, _NOT_NEGATIVE = ("mass", "size"), ("friction", "damping", "armature", "noise")


def is_context(name: str) -> bool:
    """Whether a keyword is meant as a context parameter, of whatever part."""
    return name in DEFAULTS or name in REWARDS or _split(name) is not None


def usual(name: str) -> float:
    """The value at which a context parameter changes nothing; NaN for a target velocity, which always does."""
    if name in REWARDS:
        return {"direction": 1.0, "heading": 0.0}.get(name, math.nan)
    return DEFAULTS[name.partition("_")[0]]


class ContextShapes(Mapping[str, tuple[int, ...]]):
    """The shape of one value of each context parameter, whatever parts a model has: all are numbers."""

    def __getitem__(self, name: str) -> tuple[int, ...]:
        if not is_context(name):
            raise KeyError(name)
        return ()

    def __iter__(self) -> Iterator[str]:
        return iter((*DEFAULTS, *REWARDS))

    def __len__(self) -> int:
        return len(DEFAULTS) + len(REWARDS)


class RobotParameters:
    """Checks the context parameters of one kind of robot.

    Attributes:
        parts: Names of the parts that each parameter may name, by the parameter.

    Args:
        parts: Names of the parts that each parameter may name; a parameter that is no key cannot be set.
        rewards: Those of `direction`, `heading` and `target_velocity` that the robot's reward allows.
        taken: Names of arguments that the robot's class takes itself.
    """

    def __init__(self, parts: Mapping[str, Sequence[str]], rewards: Iterable[str], taken: Iterable[str] = ()) -> None:
        self.parts = {name: tuple(known) for name, known in parts.items()}
        self._globals = [name for name in DEFAULTS if (name == "gravity" or name in parts) and name not in taken]
        self._rewards = tuple(name for name in rewards if name not in taken)

    def parse(self, given: Mapping[str, Any], num_envs: int | None = None) -> dict[str, Setting]:
        """Check parameters by name and add the defaults of all others that name no part.

        Raises:
            TypeError: If a name is unknown.
            ValueError: If the robot has no such part, or a value is not accepted.
        """
        for name in given:
            self._check_name(name)
        return self._parameters(given).parse(given, num_envs)

    def parse_options(
        self, options: Any, settings: Mapping[str, Setting], num_envs: int | None = None
    ) -> dict[str, Setting]:
        """Check the `options` of a reset: context parameters for one episode.

        Raises:
            ValueError: If a name is unknown, the robot has no such part, or a value is not accepted.
        """
        given = parse_mapping(options)
        if not given:
            return dict(settings)
        for name in given:
            if not is_context(name):
                raise ValueError(f"unknown reset option {name!r}; {self.accepted}")
            self._check_name(name)
        parameters = self._parameters({**settings, **given})
        return parameters.parse_options(given, parameters.parse(settings, num_envs), num_envs)

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        parted = [f"{name}_<{PART_OF[name]}>" for name in self._globals if name in PART_OF]
        return f"context parameters are {[*self._globals, *self._rewards]} and, of single parts, {parted}"

    def _check_name(self, name: str) -> None:
        if name in self._globals or name in self._rewards:
            return
        if name in REWARDS:
            has = f"it has {list(self._rewards)}" if self._rewards else "it reports no velocity that it is paid for"
            raise ValueError(f"{name} cannot be set: this robot's reward has none of it; {has}")
        split = _split(name)
        if name in DEFAULTS or (split and split[0] not in self.parts):
            raise ValueError(f"{name} cannot be set of this robot; {self.accepted}")
        if split is None:
            raise TypeError(f"unexpected keyword argument {name!r}; {self.accepted}")
        parameter, part = split
        if part not in self.parts[parameter]:
            kind, known = PART_OF[parameter], list(self.parts[parameter])
            close = difflib.get_close_matches(part, known)
            meant = f"did you mean {close[0]!r}? there are" if close else "there are"
            raise ValueError(f"{name}: there is no {kind} {part!r} whose {parameter} could be set; {meant} {known}")

    def _parameters(self, given: Mapping[str, Any]) -> Parameters:
        named = [*self._globals, *(name for name in self._rewards if name == "direction"), *given]
        defaults = {name: 0.0 if name == "target_velocity" else usual(name) for name in named}
        return Parameters(
            defaults,
            positive=frozenset(name for name in defaults if name.partition("_")[0] in _POSITIVE),
            not_negative=frozenset(name for name in defaults if name.partition("_")[0] in _NOT_NEGATIVE),
            check=_check_direction,
        )


def _split(name: str) -> tuple[str, str] | None:
    """The parameter and the part that a name consists of."""
    parameter, underscore, part = name.partition("_")
    return (parameter, part) if underscore and parameter in PART_OF else None


def _check_direction(settings: Mapping[str, Setting]) -> None:
    direction = settings.get("direction", 1.0)
    if isinstance(direction, tuple) or not np.isin(direction, (-1.0, 1.0)).all():
        raise ValueError(f"direction must be 1 or -1, or an array of these in the vector class, got {direction!r}")
