"""Which numbers of a MuJoCo model each context parameter multiplies, and the names of a model's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
_MOTOR_BIAS = mujoco.mjtBias.mjBIAS_NONE
_SCALABLE_GAINS = (mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtGain.mjGAIN_AFFINE)
_GEOMS_WITHOUT_SIZE = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_HFIELD)


@dataclass(frozen=True)
class Field:
    """An array of the model that a parameter multiplies.

    Attributes:
        parameter: Name of the parameter, such as `mass`.
        array: Attribute of the model, whose first axis counts what `parts` counts.
        parts: Indices along that axis by the name of a part, such as `torso`.
        everywhere: Indices that the parameter without a part multiplies.
        derived: Whether other numbers of the model follow from it, which `mj_setConst` computes.
    """

    parameter: str
    array: str
    parts: Mapping[str, Ids]
    everywhere: Ids
    derived: bool = False


def body_names(model: Any) -> list[str]:
    """The names of the bodies, the world's first; `body_<number>` where the model gives none."""
    return [model.body(i).name or f"body_{i}" for i in range(model.nbody)]


def joint_names(model: Any) -> list[str]:
    """The names of the joints; `joint_<number>` where the model gives none."""
    return [model.joint(i).name or f"joint_{i}" for i in range(model.njnt)]


def actuator_names(model: Any) -> list[str]:
    """The names of the actuators; that of the joint it drives where the model gives none, else `actuator_<number>`."""
    joints, names = joint_names(model), []
    for i in range(model.nu):
        drives_joint = model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT
        names.append(
            model.actuator(i).name or (joints[model.actuator_trnid[i, 0]] if drives_joint else f"actuator_{i}")
        )
    return names


def make_fields(model: Any) -> list[Field]:
    """List the fields of a model; those of parts that it lacks are empty."""
    bodies = {name: np.array([i]) for i, name in enumerate(body_names(model)) if model.body_mass[i] > 0}
    massive = np.flatnonzero(model.body_mass > 0)
    geoms = _geoms_by_body(model, range(model.ngeom))
    joints = {name: np.flatnonzero(model.dof_jntid == i) for i, name in enumerate(joint_names(model))}
    dofs, pairs = np.arange(model.nv), np.arange(model.npair)
    motors = np.flatnonzero(model.actuator_biastype == _MOTOR_BIAS)
    servos = np.flatnonzero(model.actuator_biastype != _MOTOR_BIAS)
    fields = [
        Field("friction", "geom_friction", geoms, np.arange(model.ngeom)),
        Field("friction", "pair_friction", {}, pairs),
        Field("mass", "body_mass", bodies, massive, derived=True),
        Field("mass", "body_inertia", bodies, massive, derived=True),
        Field("damping", "dof_damping", joints, dofs),
        Field("armature", "dof_armature", joints, dofs, derived=True),
        # A motor's gear turns its control into force. A servo's force is also fed back from its position, in units of
        # the gear, so that its gain and bias are scaled instead.
        Field("gain", "actuator_gear", _actuators(model, motors), motors),
        Field("gain", "actuator_gainprm", _actuators(model, servos), servos),
        Field("gain", "actuator_biasprm", _actuators(model, servos), servos),
    ]
    if hasattr(model, "dof_dampingpoly"):  # since MuJoCo 3.4: damping beyond the linear one
        fields.append(Field("damping", "dof_dampingpoly", joints, dofs))
    return fields


def sizable(model: Any) -> dict[str, Ids]:
    """The geoms that have a size of their own, by the names of the bodies they belong to."""
    return _geoms_by_body(model, np.flatnonzero(~np.isin(model.geom_type, _GEOMS_WITHOUT_SIZE)))


def has_muscles(model: Any) -> bool:
    """Whether an actuator is of a kind whose force is not proportional to its gain."""
    return not np.isin(model.actuator_gaintype, _SCALABLE_GAINS).all()


def _geoms_by_body(model: Any, geoms: Sequence[int] | range | Ids) -> dict[str, Ids]:
    names = body_names(model)
    owners: dict[str, list[int]] = {}
    for i in geoms:
        owners.setdefault(names[model.geom_bodyid[i]], []).append(int(i))
    return {name: np.array(ids) for name, ids in owners.items()}


def _actuators(model: Any, ids: Ids) -> dict[str, Ids]:
    names, chosen = actuator_names(model), set(ids.tolist())
    # Several actuators may drive one joint and share its name.
    return {
        name: np.array([i for i, each in enumerate(names) if each == name and i in chosen], dtype=np.int64)
        for name in names
    }
