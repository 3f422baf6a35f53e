"""Which numbers of a MuJoCo model each context parameter multiplies, and the names of a model's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
_NO_BIAS, _FIXED = int(mujoco.mjtBias.mjBIAS_NONE), int(mujoco.mjtGain.mjGAIN_FIXED)
_SCALABLE_GAINS = (_FIXED, int(mujoco.mjtGain.mjGAIN_AFFINE))
_TRANSMISSIONS = mujoco.mjtTrn
_WITH_GEAR = [
    int(each)
    for each in (
        *(_TRANSMISSIONS.mjTRN_JOINT, _TRANSMISSIONS.mjTRN_JOINTINPARENT, _TRANSMISSIONS.mjTRN_TENDON),
        *(_TRANSMISSIONS.mjTRN_SITE, _TRANSMISSIONS.mjTRN_SLIDERCRANK),
    )
]
_PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)


@dataclass(frozen=True)
class Field:
    """An array of the model that a parameter multiplies.

    Attributes:
        parameter: Name of the parameter, such as `mass`.
        array: Attribute of the model, whose first axis counts what `parts` counts.
        parts: Indices along that axis by the name of a part, such as `torso`.
        everywhere: Indices that the parameter without a part multiplies.
        derived: Whether other numbers of the model follow from it, which `mj_setConst` computes.
        is_range: Whether it holds lower and upper bounds, which a negative factor exchanges.
    """

    parameter: str
    array: str
    parts: Mapping[str, Ids]
    everywhere: Ids
    derived: bool = False
    is_range: bool = False


def body_names(model: Any) -> list[str]:
    """The names of the bodies, the world's first; `body_<number>` where the model gives none."""
    return _unique([model.body(i).name or f"body_{i}" for i in range(model.nbody)])


def joint_names(model: Any) -> list[str]:
    """The names of the joints; `joint_<number>` where the model gives none."""
    return _unique([model.joint(i).name or f"joint_{i}" for i in range(model.njnt)])


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
    is_motor = (model.actuator_biastype == _NO_BIAS) & (model.actuator_gaintype == _FIXED)
    is_motor &= np.isin(model.actuator_trntype, _WITH_GEAR)
    motors, others = np.flatnonzero(is_motor), np.flatnonzero(~is_motor)
    fields = [
        Field("friction", "geom_friction", geoms, np.arange(model.ngeom)),
        Field("friction", "pair_friction", {}, pairs),
        Field("mass", "body_mass", bodies, massive, derived=True),
        Field("mass", "body_inertia", bodies, massive, derived=True),
        Field("damping", "dof_damping", joints, dofs),
        Field("armature", "dof_armature", joints, dofs, derived=True),
        # A motor's gear turns its control into force. The force of others also depends on their length, in units of the
        # gear, so that gain and bias are scaled instead, and the limits of the force with them.
        Field("gain", "actuator_gear", _actuators(model, motors), motors),
        Field("gain", "actuator_gainprm", _actuators(model, others), others),
        Field("gain", "actuator_biasprm", _actuators(model, others), others),
        Field("gain", "actuator_forcerange", _actuators(model, others), others, is_range=True),
    ]
    if hasattr(model, "dof_dampingpoly"):  # since MuJoCo 3.4: damping beyond the linear one
        fields.append(Field("damping", "dof_dampingpoly", joints, dofs))
    return fields


def sizable(model: Any) -> dict[str, Ids]:
    """The geoms that have a size of their own, by the names of the bodies they belong to."""
    own = (model.geom_type != _PLANE) & (model.geom_dataid < 0)  # others are meshes, height fields or fitted to them
    return _geoms_by_body(model, np.flatnonzero(own))


def has_muscles(model: Any) -> bool:
    """Whether an actuator is of a kind whose force is not proportional to its gain."""
    return not np.isin(model.actuator_gaintype, _SCALABLE_GAINS).all()


def _unique(names: list[str]) -> list[str]:
    """The names, a later one with its number behind it where it stands for two."""
    return [f"{name}_{i}" if name in names[:i] else name for i, name in enumerate(names)]


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
