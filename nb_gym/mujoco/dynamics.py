"""Factors of a model's dynamics: always of the model as its file says it is, with derived numbers made anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from nb_gym.mujoco import sizes
from nb_gym.mujoco.fields import Field, Ids, has_muscles, make_fields
from nb_gym.mujoco.sizes import Arrays, Sizes

Factors = Mapping[str, float]


class Dynamics:
    """The pristine numbers of a model, and what factors make of them in another model of the same structure.

    A factor of all parts, such as `mass`, and one of a single part, such as `mass_torso`, multiply. Nothing compounds:
    whatever a model was set to before, the factors apply to the pristine numbers. `mass` scales the inertia with the
    mass, as a change of density does. `size` scales the `size` of geoms, as the same change in the XML would: masses,
    inertias and frames follow as the file says, and mass factors come on top.

    Args:
        model: The model as it was compiled.
        path: File that it was compiled from, which a change of size needs; None where there is none.
    """

    def __init__(self, model: Any, path: str | None) -> None:
        self._sizes, self._fields = Sizes(model, path), make_fields(model)
        self._gravity = model.opt.gravity.copy()
        arrays = (*(field.array for field in self._fields), *sizes.ARRAYS)
        self._pristine: Arrays = {name: getattr(model, name).copy() for name in arrays}
        self._statistics = (model.stat.meaninertia, model.stat.meanmass)
        # A file may state the averages itself; then they stay.
        self._are_averages = np.allclose(self._statistics, _averages(model), rtol=1e-12)
        self._n_geoms, self._has_muscles = model.ngeom, has_muscles(model)

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The names of the parts that each parameter may name, by the parameter."""
        parts: dict[str, dict[str, None]] = {"size": dict.fromkeys(self._sizes.geoms)} if self._sizes.geoms else {}
        for field in self._fields:
            known = parts.setdefault(field.parameter, {})
            known.update(dict.fromkeys(name for name, ids in field.parts.items() if len(ids)))
        refused = {"gain"} if self._has_muscles else set()
        if self._sizes.relative:
            refused |= {"mass", "size", "armature"}
        return {parameter: tuple(names) for parameter, names in parts.items() if parameter not in refused}

    def prepare(self, factors: Factors) -> Arrays:
        """The pristine numbers with the sizes that factors set.

        Raises:
            ValueError: If there is no model of such sizes.
        """
        given = {name: value for name, value in factors.items() if name.startswith("size") and value != 1.0}
        if not given:
            return self._pristine
        vector = np.ones(self._n_geoms)
        for name, ids in self._sizes.geoms.items():
            vector[ids] *= given.get("size", 1.0) * given.get(f"size_{name}", 1.0)
        return self._pristine | self._sizes.compiled(vector)

    def apply(self, model: Any, data: Any, factors: Factors, before: Factors) -> None:
        """Set a model to factors.

        Args:
            model: A copy of the pristine model, changed in place.
            data: Its data, which this leaves to be reset.
            factors: Factors by name; those not named are 1.
            before: The factors in force, so that only what differs is written.

        Raises:
            ValueError: If there is no model of such sizes; nothing has changed then.
        """
        names = factors.keys() | before.keys()
        families = {name.partition("_")[0] for name in names if factors.get(name, 1.0) != before.get(name, 1.0)}
        resized = "size" in families
        shape = self.prepare(factors) if families & {"size", "mass"} else self._pristine
        if "gravity" in families:
            model.opt.gravity[:] = self._gravity * factors.get("gravity", 1.0)
        for name in sizes.ARRAYS if resized else ():
            getattr(model, name)[:] = shape[name]
        derived = resized
        for field in self._fields:
            if field.parameter in families or (resized and field.array in sizes.ARRAYS):
                getattr(model, field.array)[:] = _scaled(field, shape[field.array], factors)
                derived = derived or field.derived
        if derived:
            mujoco.mj_setConst(model, data)
            # Before MuJoCo 4 the solver's tolerance is relative to these, which mj_setConst does not make anew.
            if self._are_averages:
                model.stat.meaninertia, model.stat.meanmass = _averages(model)


def _averages(model: Any) -> tuple[float, float]:
    inertia = sum(model.dof_M0.tolist()) / max(1, model.nv)
    return inertia, sum(model.body_mass[1:].tolist()) / max(1, model.nbody - 1)


def _scaled(field: Field, pristine: NDArray[Any], factors: Factors) -> NDArray[Any]:
    vector = np.ones(len(pristine))
    vector[field.everywhere] *= factors.get(field.parameter, 1.0)
    for name, ids in _named(field, factors).items():
        vector[ids] *= factors[name]
    scaled = pristine * vector.reshape(-1, *[1] * (pristine.ndim - 1))
    return np.sort(scaled, axis=1) if field.is_range else scaled


def _named(field: Field, factors: Factors) -> dict[str, Ids]:
    """The indices of the parts that factors name, by the factors' names."""
    start = field.parameter + "_"
    found = {name: field.parts.get(name[len(start) :]) for name in factors if name.startswith(start)}
    return {name: ids for name, ids in found.items() if ids is not None}
