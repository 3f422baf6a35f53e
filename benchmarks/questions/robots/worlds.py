"""Robots, the contexts that a policy is moved to, and those that others are trained over; no simulator is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

Context = Mapping[str, Any]
"""Arguments of a robot: context parameters by name, and others of its class."""

EARLY = 25
"""Environments of an adaptation: each of their first episodes is one of the first 25 episodes in the target."""

MARKS = (0, 10_000, 25_000, 50_000, 100_000)
"""Decisions in the target at which an adaptation is measured, beside its end."""

BACK, FORE = ("bthigh", "bshin", "bfoot"), ("fthigh", "fshin", "ffoot")
LOST = (
    *("rootz", "rooty", "bfoot", "fthigh"),
    *("rootz_velocity", "bshin_velocity", "bfoot_velocity", "fthigh_velocity"),
)
"""The observations that CSP's defective module zeroes, see `nb_gym.mujoco.tasks`."""


def _gains(back: float, fore: float) -> dict[str, float]:
    return {f"gain_{name}": back for name in BACK} | {f"gain_{name}": fore for name in FORE}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Contexts that a policy is trained over, drawn or dealt out for each episode.

    Attributes:
        dealt: Contexts of which each is in as many environments of a training.
        drawn: Ranges of what is drawn for each episode beside; with "log" in front, log-uniformly.
        ranges: What a policy that is told the context sees as −1 and 1, by parameter.
        rewarded: Whether the last reward is observed, without which nothing tells one task from another.
    """

    dealt: tuple[Context, ...] = ({},)
    drawn: Context = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rewarded: bool = False

    def training(self, num_envs: int) -> dict[str, Any]:
        """Context of the environments of a training."""
        each = {name: [context[name] for context in self.dealt] for name in self.dealt[0]}
        return dict(self.drawn) | {name: np.resize(values, num_envs) for name, values in each.items()}

    def tasks(self, rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
        """The same as tasks of a meta-learner."""
        order = rng.permutation(np.resize(np.arange(len(self.dealt)), n))
        return [dict(self.dealt[i]) | {name: _draw(rng, ends) for name, ends in self.drawn.items()} for i in order]


def _draw(rng: np.random.Generator, ends: Any) -> float:
    if ends[0] == "log":
        return float(np.exp(rng.uniform(*np.log(ends[1:]))))
    return float(rng.uniform(*ends))


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot, and what is asked of it.

    Attributes:
        id: Id of its environment.
        targets: Contexts that a policy is moved to, by name; those of CSP are `nb_gym.mujoco.TASKS`.
        held_out: Contexts that are measured beside, and lie outside of the family.
        family: What the policies over many contexts are trained on; None where there are none.
        source: Arguments of the robot that the source policy is trained on.
        source_steps: Decisions of that training.
        family_steps: Decisions of a training over the family, labels included: the source's and all adaptations'.
        steps: Decisions of an adaptation.
        episode: Decisions of an episode at most.
        seeds: Number of seeds at most.
        widths: Units of a hidden layer that there are results with; the first is the one by default.
        exported: Whether policies whose k's alone have changed are folded and written as ONNX files, and compared.
    """

    id: str
    targets: Mapping[str, Context]
    held_out: Mapping[str, Context] = field(default_factory=dict)
    family: Family | None = None
    source: Context = field(default_factory=dict)
    source_steps: int = 1_200_000
    family_steps: int = 1_800_000
    steps: int = 150_000
    episode: int = 1000
    seeds: int = 5
    widths: tuple[int, ...] = (64,)
    exported: bool = False


def _cheetah_family() -> Family:
    """Both signs and two sizes of the gains, whole or dead legs, loads and gravity, and lost sensors; 64 contexts."""
    gains, legs = (-1.2, -0.8, 0.8, 1.2), ((1.0, 1.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0))
    worlds = ((1.0, 1.0, 1.0), (2.0, 0.75, 1.0), (4.0, 1.5, 1.0), (1.0, 1.0, 0.0))
    dealt = []
    for gain, (back, fore), (mass, gravity, seen) in product(gains, legs, worlds):
        sensors = {f"sensor_{name}": seen for name in LOST}
        dealt.append(_gains(gain * back, gain * fore) | sensors | {"mass_torso": mass, "gravity": gravity})
    told = dict.fromkeys(_gains(0.0, 0.0), (-1.0, 1.0))
    ranges = told | {"mass_torso": (0.0, 4.0), "gravity": (0.0, 2.0), "sensor_rootz": (0.0, 1.0)}
    return Family(dealt=tuple(dealt), ranges=ranges)


CHEETAH_TARGETS: dict[str, dict[str, float]] = {
    "inverted_actions": {"gain": -1.0},
    "crippled_backlegs": {f"gain_{name}": 0.0 for name in BACK},
    "carry_stuff_hugegravity": {"mass_torso": 4.0, "gravity": 1.5},
    "defective_module": {f"sensor_{name}": 0.0 for name in LOST},
}

_PAID: dict[str, Any] = {"ctrl_cost_weight": 0.05}

ROBOTS = {
    "HalfCheetah": Robot(
        id="NBHalfCheetah-v0",
        targets=CHEETAH_TARGETS,
        held_out={"moon": {"gravity": 0.15}, "inverted_backlegs": _gains(-1.0, 1.0)},
        family=_cheetah_family(),
        seeds=10,
        widths=(64, 256, 512),
    ),
    "Walker2d": Robot(
        id="NBWalker2d-v0",
        targets={
            "crippled_foot": {"gain_foot_joint": 0.0},
            "inverted_actions": {"gain": -1.0},
        },
    ),
    "Hopper": Robot(
        id="NBHopper-v0",
        targets={"weak": {"gain": 0.6}, "inverted_actions": {"gain": -1.0}},
        source_steps=600_000,
        steps=100_000,
    ),
    "InvertedDoublePendulum": Robot(
        id="NBInvertedDoublePendulum-v0",
        targets={"inverted_actions": {"gain": -1.0}, "heavy_tip": {"mass_pole2": 3.0}},
        source_steps=300_000,
        steps=100_000,
    ),
    "Reacher": Robot(
        id="NBReacher-v0",
        targets={"inverted_joint": {"gain_joint0": -1.0}, "inverted_actions": {"gain": -1.0}},
        source_steps=500_000,
        steps=100_000,
        episode=50,
    ),
    "Humanoid": Robot(
        id="NBHumanoid-v0",
        targets={"carry_stuff": {"mass_torso": 4.0, "mass_lwaist": 4.0}},
        seeds=1,
        widths=(256,),
        exported=True,
    ),
    "HalfCheetahDir": Robot(
        id="NBHalfCheetah-v0",
        targets={"backward": {"direction": -1.0}},
        family=Family(
            dealt=({"direction": 1.0}, {"direction": -1.0}), ranges={"direction": (-1.0, 1.0)}, rewarded=True
        ),
        source={**_PAID, "direction": 1.0},
        episode=200,
    ),
    "HalfCheetahVel": Robot(
        id="NBHalfCheetah-v0",
        targets={f"velocity_{v}": {"target_velocity": v} for v in (0.3, 0.9, 2.1, 2.7)},
        family=Family(
            drawn={"target_velocity": (0.0, 3.0)}, ranges={"target_velocity": (0.0, 3.0)}, rewarded=True
        ),
        source={**_PAID, "target_velocity": 1.5},
        episode=200,
    ),
}  # fmt: skip
"""Robots by the names that they have in tables and on command lines; targets in the order in which they are run."""
