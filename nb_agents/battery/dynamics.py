"""A small model of a task's dynamics, kept beside its k-set: it tells by some steps whether they are of that task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nb_agents.battery.transitions import Numbers, Table

RIDGE = 0.1
"""Weight of the squared coefficients, beside as many squared errors as there are transitions."""

LIMIT = 4.0
"""Standard deviations at which inputs are clipped: squares that grow beyond what was seen explain nothing."""

FREEDOM = 4.0
"""Degrees of freedom of Student's t, whose tails let a few steps, as those with a contact, be worse than all others."""

FLOOR = 0.03
"""Smallest standard deviation of the errors, in those of the outputs: no model is taken to know more."""

LEVERAGE = 0.95
"""The most that a transition is taken to decide its own prediction."""


@dataclass(frozen=True)
class Dynamics:
    """What observation and action add to the observation: a ridge regression on their squares and products.

    Sines and cosines of what is observed stand beside them, for many of the numbers are angles in rad. The reward is
    one more output where transitions have it. All arrays are of float32, as they are in a file.

    Attributes:
        centre: Mean of the inputs, shape ``(n_inputs,)``.
        scale: Standard deviation of the inputs, 1 where they do not vary, shape ``(n_inputs,)``.
        weights: Coefficients, shape ``(n_features, n_outputs)``, see `features`.
        covariance: Of the errors with each transition left out, shape ``(n_outputs, n_outputs)``.
        spread: Standard deviation of the outputs, shape ``(n_outputs,)``.
        n_observed: Numbers in an observation, shape ``()``; there may be one output more, the reward.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    covariance: NDArray[np.float32]
    spread: NDArray[np.float32]
    n_observed: NDArray[np.float32]

    @classmethod
    def fit(cls, table: Table) -> Dynamics:
        """Fit it, with squares and products where there are twice as many transitions as features with them.

        Raises:
            ValueError: If the numbers are too large for float32.
        """
        x, y = table.inputs, table.outputs
        deviation = x.std(axis=0)
        centre, scale = x.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0)
        spread = y.std(axis=0)
        unit = np.where(spread > 0.0, spread, 1.0)
        _, n_quadratic = n_features(x.shape[1], table.n_observed)
        z = features(table, centre, scale, quadratic=len(x) >= 2 * n_quadratic)
        inverse = np.linalg.inv(z.T @ z + RIDGE * np.eye(z.shape[1]))
        weights = inverse @ z.T @ (y / unit)
        own = np.minimum(np.einsum("ij,jk,ik->i", z, inverse, z), LEVERAGE)
        left_out = (y / unit - z @ weights) / (1.0 - own)[:, None] * unit
        found = (centre, scale, weights * unit, left_out.T @ left_out / len(x), spread, np.array(table.n_observed))
        with np.errstate(over="ignore"):
            model = cls(*(array.astype(np.float32) for array in found))
        if not all(np.isfinite(getattr(model, each.name)).all() for each in fields(cls)):
            raise ValueError(f"transitions must be small enough for float32, got up to {np.abs(x).max():g}")
        return model

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Dynamics:
        """What `arrays` gave.

        Raises:
            ValueError: If something is missing, not finite or of another shape.
        """
        if arrays.keys() != {each.name for each in fields(cls)}:
            raise ValueError(f"a model of the dynamics has other arrays: {sorted(arrays)}")
        made = cls(**arrays)
        n_in, n_out, n_observed = made.centre.size, made.spread.size, int(made.n_observed.sum())
        shapes = {"centre": (n_in,), "scale": (n_in,), "covariance": (n_out, n_out), "spread": (n_out,)}
        fits = all(arrays[name].shape == shape for name, shape in shapes.items())
        fits &= made.weights.shape in [(n, n_out) for n in n_features(n_in, n_observed)] and made.n_observed.shape == ()
        fits &= 0 < n_observed <= n_in and n_out - n_observed in (0, 1) and bool((made.scale > 0).all())
        if not fits or not all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values()):
            raise ValueError("a model of the dynamics does not hold together")
        return made

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What a file holds."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def rewarded(self) -> bool:
        """Whether the reward is an output."""
        return len(self.spread) > int(self.n_observed)

    def errors(self, table: Table) -> Numbers:
        """Outputs less their prediction, shape ``(n, n_outputs)``; all that both know."""
        n_plain, _ = n_features(self.centre.size, int(self.n_observed))
        z = features(table, self.centre, self.scale, quadratic=len(self.weights) > n_plain)
        predicted = z @ self.weights.astype(np.float64)
        n = min(predicted.shape[1], table.outputs.shape[1])
        return table.outputs[:, :n] - predicted[:, :n]


def features(table: Table, centre: Any, scale: Any, *, quadratic: bool) -> Numbers:
    """1, standardised inputs, the observation's sines and cosines, and the inputs' squares and products.

    Returns:
        Shape ``(n, n_features)``, as many as `n_features` says without and with squares and products.
    """
    z = np.clip((table.inputs - centre) / scale, -LIMIT, LIMIT)
    observed = table.inputs[:, : table.n_observed]
    first, second = np.triu_indices(z.shape[1])
    products = [z[:, first] * z[:, second]] if quadratic else []
    return np.hstack([np.ones((len(z), 1)), z, np.sin(observed), np.cos(observed), *products])


def n_features(n_inputs: int, n_observed: int) -> tuple[int, int]:
    """Numbers of `features` without squares and products, and with them."""
    plain = 1 + n_inputs + 2 * n_observed
    return plain, plain + n_inputs * (n_inputs + 1) // 2


def log_likelihoods(models: Sequence[Dynamics], table: Table) -> list[float]:
    """Mean logarithm of the density that each model gives the outputs of the transitions, in nats, up to a constant.

    The density is Student's t with the covariance of the model's errors. All models are compared in the same outputs
    and units; the reward is left out unless all of them and the transitions have it.

    Raises:
        ValueError: If the transitions have other inputs or outputs than a model.
    """
    for model in models:
        if model.centre.size != table.inputs.shape[1] or int(model.n_observed) != table.n_observed:
            raise ValueError(
                f"transitions must have {int(model.n_observed)} numbers in an observation and {model.centre.size} with "
                f"the action, as those that the dynamics were fitted to, got {table.n_observed} and "
                f"{table.inputs.shape[1]}"
            )
    n = min([table.outputs.shape[1], *(model.spread.size for model in models)])
    spread = np.max([model.spread[:n] for model in models], axis=0).astype(np.float64)
    unit = np.where(spread > 0.0, spread, 1.0)
    found = []
    for model in models:
        covariance = model.covariance[:n, :n] / np.outer(unit, unit) + FLOOR**2 * np.eye(n)
        errors = model.errors(table)[:, :n] / unit
        distance = np.einsum("ij,ji->i", errors, np.linalg.solve(covariance, errors.T))
        log_density = -0.5 * np.linalg.slogdet(covariance)[1] - (FREEDOM + n) / 2 * np.log1p(distance / FREEDOM)
        found.append(float(log_density.mean()))
    return found
