"""Sizes of geoms as an XML would give them: the model is compiled again, with what it was compiled from."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from nb_gym.mujoco.fields import Ids, sizable

Arrays = dict[str, NDArray[Any]]

ARRAYS = (
    *("geom_size", "geom_rbound", "geom_aabb", "geom_pos", "geom_quat", "geom_sameframe"),
    *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_sameframe", "body_simple", "dof_simplenum"),
    *("bvh_aabb", "bvh_nodeid", "bvh_child", "bvh_depth", "tendon_lengthspring", "actuator_lengthrange"),
)
"""What the compiler works out of the sizes of geoms, beside what `mj_setConst` computes."""

_MOST = 512
"""Compiled sizes that are kept, a few kilobytes each; ranges draw ever new ones."""


class Sizes:
    """Compiles a model with other sizes of its geoms.

    Attributes:
        geoms: Ids of the geoms whose size may be set, by the body's name; empty where compiling the file again does not
            give the model, as when a class has changed it after it was compiled.
        relative: Whether the file states numbers relative to masses (`dampratio`, `springdamper`), which the compiler
            resolves, so that masses cannot be changed afterwards.

    Args:
        model: The model.
        path: File that it was compiled from, None where there is none.
    """

    def __init__(self, model: Any, path: str | None) -> None:
        self.geoms: dict[str, Ids] = {}
        self.relative = False
        self._compiled: dict[bytes, Arrays] = {}
        if path is None:
            return
        try:
            self._spec = mujoco.MjSpec.from_file(path)
        except ValueError:
            return
        self._total, self._spec.compiler.settotalmass = self._spec.compiler.settotalmass, -1.0  # deprecated there
        self.relative = _is_relative(self._spec)
        listed = list(self._spec.geoms)
        for i, geom in enumerate(listed):
            geom.name = geom.name or f"{i} of nb_gym"
        again = self._spec.compile()
        ids = [mujoco.mj_name2id(again, mujoco.mjtObj.mjOBJ_GEOM, geom.name) for geom in listed]
        self._listed = [(geom, i, np.array(geom.size)) for geom, i in zip(listed, ids, strict=True) if i >= 0]
        if len(self._listed) == model.ngeom and self._is(model, self._arrays(again)):
            self.geoms = sizable(model)

    @staticmethod
    def _is(model: Any, arrays: Arrays) -> bool:
        return all(np.array_equal(getattr(model, name), value) for name, value in arrays.items())

    def _arrays(self, compiled: Any) -> Arrays:
        if self._total > 0:
            mujoco.mj_setTotalmass(compiled, self._total)
        return {name: getattr(compiled, name).copy() for name in ARRAYS}

    def compiled(self, factors: NDArray[np.float64]) -> Arrays:
        """Find the numbers in `ARRAYS` with other sizes.

        Args:
            factors: Factors of the geoms' sizes, shape `(ngeom,)`.

        Raises:
            ValueError: If MuJoCo cannot compile a model of them.
        """
        key = factors.tobytes()
        if key not in self._compiled:
            for geom, i, size in self._listed:
                geom.size = size * factors[i]
            try:
                arrays = self._arrays(self._spec.compile())
            except ValueError as error:
                raise ValueError(
                    f"size: MuJoCo cannot compile the model with sizes times {factors}: {error}"
                ) from error
            if len(self._compiled) >= _MOST:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[key] = arrays
        return self._compiled[key]


def _is_relative(spec: Any) -> bool:
    springs = any(np.any(np.asarray(joint.springdamper) > 0) for joint in spec.joints)
    affine = mujoco.mjtBias.mjBIAS_AFFINE
    ratios = any(each.biastype == affine and each.biasprm[2] > 0 for each in spec.actuators)
    return springs or ratios
