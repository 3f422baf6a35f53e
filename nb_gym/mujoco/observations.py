"""The observations of a robot by name, and sensors that lose or blur them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.inverted_double_pendulum_v5 import InvertedDoublePendulumEnv
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from numpy.typing import NDArray

from nb_gym.mujoco.fields import body_names, joint_names
from nb_gym.mujoco.parameters import usual

Slices = dict[str, slice]

_NAMES: dict[type[Any], tuple[str, ...]] = {
    InvertedDoublePendulumEnv: (
        *("slider", "sin_hinge", "sin_hinge2", "cos_hinge", "cos_hinge2"),
        *("slider_velocity", "hinge_velocity", "hinge2_velocity", "slider_constraint_force"),
    ),
    ReacherEnv: (
        *("cos_joint0", "cos_joint1", "sin_joint0", "sin_joint1", "target_x", "target_y"),
        *("joint0_velocity", "joint1_velocity", "to_target_x", "to_target_y"),
    ),
}
"""Of Gymnasium's classes whose observation is no list of the model's own numbers."""

_FREE, _BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)
_POSITIONS = {
    _FREE: ("_x", "_y", "_z", "_qw", "_qx", "_qy", "_qz"),
    _BALL: ("_qw", "_qx", "_qy", "_qz"),
}
_VELOCITIES = {
    _FREE: ("_vx", "_vy", "_vz", "_wx", "_wy", "_wz"),
    _BALL: ("_wx", "_wy", "_wz"),
}


def observation_slices(env: Any, robot_class: type[Any], size: int) -> Slices:
    """Name the parts of a robot's observation.

    The names are those that the class lists in `observation_names`, or those of its `observation_structure`: joints,
    joints with `_velocity`, and bodies and joints behind `cinert_`, `cvel_`, `qfrc_actuator_` and `cfrc_ext_`. Where
    there is neither, they are the numbers "0", "1", …

    Args:
        env: Environment of Gymnasium's `MujocoEnv`.
        robot_class: Class of the environment.
        size: Length of its observation.

    Returns:
        Slices of the observation by name, each of one number or of a body's six or ten.
    """
    listed = getattr(env, "observation_names", None) or _NAMES.get(robot_class)
    if listed is not None:
        if len(listed) != size:
            raise ValueError(f"observation_names must name {size} observations, got {len(listed)}: {list(listed)}")
        if len(set(listed)) < size:
            raise ValueError(f"observation_names must be different ones, got {list(listed)}")
        return {name: slice(i, i + 1) for i, name in enumerate(listed)}
    structure = getattr(env, "observation_structure", None)
    slices = _by_structure(env.model, structure) if structure else {}
    if slices and sum(part.stop - part.start for part in slices.values()) == size:
        return slices
    return {str(i): slice(i, i + 1) for i in range(size)}


def _by_structure(model: Any, structure: Mapping[str, int]) -> Slices:
    positions, velocities = _of_joints(model, _POSITIONS, ""), _of_joints(model, _VELOCITIES, "_velocity")
    bodies = body_names(model)[1:]
    names = positions[structure.get("skipped_qpos", 0) :] + velocities
    slices = {name: slice(i, i + 1) for i, name in enumerate(names)}
    start = len(names)
    groups = (
        ("cinert", [f"cinert_{body}" for body in bodies], 10),
        ("cvel", [f"cvel_{body}" for body in bodies], 6),
        ("qfrc_actuator", [f"qfrc_actuator_{name.removesuffix('_velocity')}" for name in velocities[6:]], 1),
        ("cfrc_ext", [f"cfrc_ext_{body}" for body in bodies], 6),
    )
    for key, names, width in groups:
        if structure.get(key, 0) == len(names) * width:
            slices |= {name: slice(start + i * width, start + (i + 1) * width) for i, name in enumerate(names)}
            start += len(names) * width
    return slices


def _of_joints(model: Any, endings: Mapping[int, Sequence[str]], ending: str) -> list[str]:
    names = joint_names(model)
    return [name + end for i, name in enumerate(names) for end in endings.get(int(model.jnt_type[i]), (ending,))]


class Blur:
    """Sensors that show something else than the observation: each number plus its noise, times its factor.

    Attributes:
        factors: Factors, shape `(size,)`.
        deviations: Standard deviations of the noise, shape `(size,)`.

    Args:
        factors: The factors.
        deviations: The deviations.
        seed: Seed of the noise.
    """

    def __init__(self, factors: NDArray[np.float64], deviations: NDArray[np.float64], seed: int | None) -> None:
        self.factors, self.deviations = factors, deviations
        self._rng = None if seed is None else np.random.default_rng(seed)

    def __call__(self, observation: NDArray[Any]) -> NDArray[Any]:
        """What the sensors show of an observation of one robot, in numbers of the same type."""
        shown = observation
        if self._rng is not None:
            shown = shown + self._rng.standard_normal(len(self.deviations)) * self.deviations
        return (shown * self.factors).astype(observation.dtype, copy=False)


class Sensors:
    """The sensors of one kind of robot.

    Args:
        slices: Slices of the observation by name.
        size: Length of the observation.
    """

    def __init__(self, slices: Slices, size: int) -> None:
        self._slices, self._size = slices, size

    def blur(self, context: Mapping[str, float], rng: np.random.Generator) -> Blur | None:
        """What a context makes of observations, for one episode; None where it leaves them.

        Args:
            context: Parameters in force.
            rng: Generator of the seed of the noise, left as it is where there is none.
        """
        if not any(name.startswith(("sensor", "noise")) and value != usual(name) for name, value in context.items()):
            return None
        factors = np.full(self._size, context.get("sensor", 1.0))
        deviations = np.full(self._size, context.get("noise", 0.0))
        for name, value in context.items():
            parameter, _, part = name.partition("_")
            if part and parameter == "sensor":
                factors[self._slices[part]] *= value
            elif part and parameter == "noise":
                here = self._slices[part]
                deviations[here] = np.hypot(deviations[here], value)
        noisy = bool(deviations.any())
        return Blur(factors, deviations, int(rng.integers(2**63)) if noisy else None)
