"""Factors of a model's dynamics: always of the model as its file says it is, with derived numbers made anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from gymnasium.error import Error
from numpy.typing import NDArray

from nb_gym.mujoco.fields import Field, Ids, has_muscles, make_fields, sizable

Factors = Mapping[str, float]
Arrays = dict[str, NDArray[Any]]

_SHAPE_ARRAYS = (
    *("geom_size", "geom_rbound", "geom_aabb", "geom_pos", "geom_quat", "geom_sameframe"),
    *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_sameframe"),
    *("bvh_aabb", "bvh_nodeid", "bvh_child", "bvh_depth"),
)
"""What the compiler works out of the sizes of geoms, beside what `mj_setConst` computes."""
_MOST_SHAPES = 64
"""Compiled sizes that are kept; ranges draw ever new ones."""


class Dynamics:
    """The pristine numbers of a model, and what factors make of them in another model of the same structure.

    A factor of all parts, such as `mass`, and one of a single part, such as `mass_torso`, multiply. Nothing compounds:
    whatever a model was set to before, the factors apply to the pristine numbers. `mass` scales the inertia with the
    mass, as a change of density does. `size` scales the `size` of geoms, in the way of the same change in the XML: the
    model is compiled again, so that masses, inertias and frames follow as the file says, and mass factors come on top.

    Args:
        model: The model as it was compiled.
        path: File that it was compiled from, which a change of size reads again; None where there is none.
    """

    def __init__(self, model: Any, path: str | None) -> None:
        self._path = path
        self._fields = make_fields(model)
        self._geoms = sizable(model) if path else {}
        self._all_geoms = np.sort(np.concatenate([np.empty(0, np.int64), *self._geoms.values()]))
        self._gravity = model.opt.gravity.copy()
        arrays = (*(field.array for field in self._fields), *_SHAPE_ARRAYS)
        self._pristine: Arrays = {name: getattr(model, name).copy() for name in arrays}
        self._model = model
        self._shapes: dict[bytes, Arrays] = {}

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The names of the parts that each parameter may name, by the parameter."""
        parts: dict[str, dict[str, None]] = {"size": dict.fromkeys(self._geoms)} if self._geoms else {}
        for field in self._fields:
            known = parts.setdefault(field.parameter, {})
            known.update(dict.fromkeys(name for name, ids in field.parts.items() if len(ids)))
        if has_muscles(self._model):
            del parts["gain"]
        return {parameter: tuple(names) for parameter, names in parts.items()}

    def apply(self, model: Any, data: Any, factors: Factors, before: Factors) -> None:
        """Set a model to factors.

        Args:
            model: A copy of the pristine model, changed in place.
            data: Its data, which this leaves to be reset.
            factors: Factors by name; those not named are 1.
            before: The factors in force, so that only what differs is written.
        """
        names = factors.keys() | before.keys()
        families = {name.partition("_")[0] for name in names if factors.get(name, 1.0) != before.get(name, 1.0)}
        if "gravity" in families:
            model.opt.gravity[:] = self._gravity * factors.get("gravity", 1.0)
        shape, derived = self._shape(factors), "size" in families
        if derived:
            for name in _SHAPE_ARRAYS:
                getattr(model, name)[:] = shape[name]
        for field in self._fields:
            if field.parameter in families or (derived and field.array in _SHAPE_ARRAYS):
                getattr(model, field.array)[:] = _scaled(field, shape[field.array], factors)
                derived = derived or field.derived
        if derived:
            mujoco.mj_setConst(model, data)
            # The compiler's averages, which the constraint solver's tolerance is relative to: mj_setConst leaves them.
            model.stat.meaninertia = sum(model.dof_M0.tolist()) / model.nv
            model.stat.meanmass = sum(model.body_mass[1:].tolist()) / (model.nbody - 1)

    def _shape(self, factors: Factors) -> Arrays:
        """The pristine numbers with the sizes that factors set."""
        given = {name: value for name, value in factors.items() if name.startswith("size") and value != 1.0}
        if not given:
            return self._pristine
        sizes = np.ones(self._model.ngeom)
        sizes[self._all_geoms] *= given.get("size", 1.0)
        for name, ids in self._geoms.items():
            sizes[ids] *= given.get(f"size_{name}", 1.0)
        key = sizes.tobytes()
        if key not in self._shapes:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[key] = self._pristine | self._compile(sizes)
        return self._shapes[key]

    def _compile(self, sizes: NDArray[np.float64]) -> Arrays:
        assert self._path is not None
        spec = mujoco.MjSpec.from_file(self._path)
        geoms = [geom for body in spec.bodies for geom in body.geoms]  # in the compiler's order
        for geom, size in zip(geoms, sizes, strict=True):
            geom.size = np.asarray(geom.size) * size
        total, spec.compiler.settotalmass = spec.compiler.settotalmass, -1.0  # the compiler's own way is deprecated
        compiled = spec.compile()
        if total > 0:
            mujoco.mj_setTotalmass(compiled, total)
        same = [body.name for body in spec.bodies] == [compiled.body(i).name for i in range(compiled.nbody)]
        if not same or not np.array_equal(compiled.geom_type, self._model.geom_type) or compiled.nv != self._model.nv:
            raise Error(f"size cannot be set: compiling {self._path} again gives a model of another structure")
        return {name: getattr(compiled, name).copy() for name in _SHAPE_ARRAYS}


def _scaled(field: Field, pristine: NDArray[Any], factors: Factors) -> NDArray[Any]:
    vector = np.ones(len(pristine))
    vector[field.everywhere] *= factors.get(field.parameter, 1.0)
    for name, ids in _named(field, factors).items():
        vector[ids] *= factors[name]
    return pristine * vector.reshape(-1, *[1] * (pristine.ndim - 1))


def _named(field: Field, factors: Factors) -> dict[str, Ids]:
    """The indices of the parts that factors name, by the factors' names."""
    start = field.parameter + "_"
    found = {name: field.parts.get(name[len(start) :]) for name in factors if name.startswith(start)}
    return {name: ids for name, ids in found.items() if ids is not None}
