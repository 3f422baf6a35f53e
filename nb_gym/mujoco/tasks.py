"""Named tasks from the literature, as arguments of the robots here.

No two published versions of these agree to the last number, nor do the simulators. What each entry changes is written
here, its docstring says where that differs from its source, and tests keep it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

CSP = "Gaya et al., Building a Subspace of Policies for Scalable Continual Learning, 2023, arXiv:2211.10445"
RAND_PARAM = "rand_param_envs, the environments of Rakelly et al., 2019, arXiv:1903.08254"
MAML = "Finn, Abbeel & Levine, Model-Agnostic Meta-Learning, 2017, arXiv:1703.03400"
PEARL = "Rakelly et al., Efficient Off-Policy Meta-RL via Probabilistic Context Variables, 2019, arXiv:1903.08254"


@dataclass(frozen=True)
class Task:
    """A robot with arguments.

    Attributes:
        id: Id of the robot's environment.
        kwargs: Arguments of `gymnasium.make`: context parameters, and others of the class.
        source: Publication that the task is from.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = CSP

    def __post_init__(self) -> None:
        """Keep a copy of the arguments, which no other task shares."""
        object.__setattr__(self, "kwargs", dict(self.kwargs))

    def make(self, **kwargs: Any) -> gym.Env[Any, Any]:
        """Make the robot; keywords go before the task's own."""
        return gym.make(self.id, **{**self.kwargs, **kwargs})

    def make_vec(self, num_envs: int, **kwargs: Any) -> VectorEnv[Any, Any, Any]:
        """Make many of the robot with the native vector class."""
        return gym.make_vec(self.id, num_envs=num_envs, **{**self.kwargs, **kwargs})


_PARTS = {
    "torso": ("torso",),
    "thigh": ("bthigh", "fthigh"),
    "shin": ("bshin", "fshin"),
    "foot": ("bfoot", "ffoot"),
}
_BACK, _FORE = ("bthigh", "bshin", "bfoot"), ("fthigh", "fshin", "ffoot")
# The half that CSP's fixed permutation zeroes, of the observations that Gymnasium's cheetah has; height and pitch stand
# for the three numbers of Brax's.
_DEFECTIVE = (
    *("rootz", "rooty", "bfoot", "fthigh"),
    *("rootz_velocity", "bshin_velocity", "bfoot_velocity", "fthigh_velocity"),
)


def _mass(factor: float, *parts: str) -> dict[str, float]:
    return {f"mass_{body}": factor for part in parts for body in _PARTS[part]}


def _all(parameter: str, value: Any, names: Iterable[str]) -> dict[str, Any]:
    return {f"{parameter}_{name}": value for name in names}


def half_cheetah_tasks() -> dict[str, dict[str, Any]]:
    """The tasks of CSP's half-cheetah.

    There a huge or tiny part has its mass and its radius multiplied, in Brax; here its mass and inertia are.
    """
    moon, rainfall, huge_gravity = {"gravity": 0.15}, {"friction": 0.4}, {"gravity": 1.5}
    carry = {"mass_torso": 4.0}
    tasks: dict[str, dict[str, Any]] = {
        "normal": {},
        "moon": moon,
        "tinygravity": {"gravity": 0.5},
        "hugegravity": huge_gravity,
        "rainfall": rainfall,
        "tinyfriction": {"friction": 0.5},
        "hugefriction": {"friction": 1.5},
        "modified_physics": {"gravity": 1.5, "friction": 1.25},
        "overweight": {"mass": 1.5},
        "underweight": {"mass": 0.75},
        "disproportionate_feet": _mass(0.75, "torso", "thigh", "shin") | _mass(1.25, "foot"),
        "carry_stuff": carry,
        "carry_stuff_hugegravity": carry | huge_gravity,
        "carry_stuff_moon": carry | moon,
        "carry_stuff_rainfall": carry | rainfall,
        "defective_module": _all("sensor", 0.0, _DEFECTIVE),
        "crippled_backlegs": _all("gain", 0.0, _BACK),
        "crippled_forelegs": _all("gain", 0.0, _FORE),
        "inverted_actions": {"gain": -1.0},
    }
    for part in _PARTS:
        tasks |= {f"tiny{part}": _mass(0.5, part), f"huge{part}": _mass(1.5, part)}
    for size, place, change in (
        *(("huge", "rainfall", rainfall), ("tiny", "moon", moon), ("huge", "moon", moon)),
        *(("tiny", "rainfall", rainfall), ("tiny", "hugegravity", huge_gravity), ("huge", "hugegravity", huge_gravity)),
    ):
        tasks[f"{size}foot_{place}"] = tasks[f"{size}foot"] | change
    return tasks


def ant_tasks() -> dict[str, dict[str, Any]]:
    """The tasks of CSP's ant; a leg that is disabled has no force at hip and ankle."""

    def disabled(*legs: int) -> dict[str, float]:
        return _all("gain", 0.0, [f"{joint}_{leg}" for leg in legs for joint in ("hip", "ankle")])

    return {
        "normal": {},
        "moon": {"gravity": 0.7},
        "rainfall": {"friction": 0.375},
        "disabled_hard1": disabled(2, 3, 4),
        "disabled_hard2": disabled(1, 3, 4),
        "disabled_forefeet": disabled(1, 2),
        "disabled_backfeet": disabled(3, 4),
        "disabled_first_diagonal": disabled(1, 3),
        "disabled_second_diagonal": disabled(2, 4),
        "inverted_actions": {"gain": -1.0},
    }


def humanoid_tasks() -> dict[str, dict[str, Any]]:
    """The tasks of CSP's humanoid; tiny feet are light shins, there and here."""
    return {
        "normal": {},
        "moon": {"gravity": 0.15},
        "carry_stuff": {"mass_torso": 4.0, "mass_lwaist": 4.0},
        "tinyfeet": {"mass_right_shin": 0.5, "mass_left_shin": 0.5},
    }


def rand_param(bodies: Iterable[str], joints: Iterable[str]) -> dict[str, Any]:
    """The distribution of rand_param: masses and friction times 1.5^U(−3, 3), damping times 1.3^U(−3, 3).

    There an inertia's three numbers are drawn apart from the mass, which gives inertias that no body has, and so are
    the three coefficients of friction; here they follow the body's factors.
    """
    wide, narrow = ("log", 1.5**-3, 1.5**3), ("log", 1.3**-3, 1.3**3)
    bodies = list(bodies)
    friction = _all("friction", wide, ["world", *bodies])
    return _all("mass", wide, bodies) | friction | _all("damping", narrow, joints) | {"episode_steps": 200}


_LEG = ("thigh", "leg", "foot")
_LEFT = tuple(f"{name}_left" for name in _LEG)
_VELOCITY = {"episode_steps": 200, "ctrl_cost_weight": 0.05}

TASKS: dict[str, Task] = {
    **{f"HalfCheetah/{name}": Task("NBHalfCheetah-v0", kwargs) for name, kwargs in half_cheetah_tasks().items()},
    **{f"Ant/{name}": Task("NBAnt-v0", kwargs) for name, kwargs in ant_tasks().items()},
    **{f"Humanoid/{name}": Task("NBHumanoid-v0", kwargs) for name, kwargs in humanoid_tasks().items()},
    "Hopper/rand_param": Task(
        "NBHopper-v0", rand_param(("torso", *_LEG), [f"{name}_joint" for name in _LEG]), RAND_PARAM
    ),
    "Walker2d/rand_param": Task(
        "NBWalker2d-v0",
        rand_param(("torso", *_LEG, *_LEFT), [f"{name}_joint" for name in (*_LEG, *_LEFT)]),
        RAND_PARAM,
    ),
    "HalfCheetah/forward": Task("NBHalfCheetah-v0", _VELOCITY, MAML),
    "HalfCheetah/backward": Task("NBHalfCheetah-v0", _VELOCITY | {"direction": -1.0}, MAML),
    "HalfCheetah/velocity": Task("NBHalfCheetah-v0", _VELOCITY | {"target_velocity": (0.0, 3.0)}, PEARL),
    "Ant/forward": Task("NBAnt-v0", {"episode_steps": 200}, MAML),
    "Ant/backward": Task("NBAnt-v0", {"episode_steps": 200, "direction": -1.0}, MAML),
    "Ant/direction": Task("NBAnt-v0", {"episode_steps": 200, "heading": (0.0, 2 * math.pi)}, PEARL),
    "Humanoid/direction": Task("NBHumanoid-v0", {"episode_steps": 200, "heading": (0.0, 2 * math.pi)}, PEARL),
}
"""Tasks by the robot's name, a slash and their own: `TASKS["HalfCheetah/inverted_actions"].make()`."""
