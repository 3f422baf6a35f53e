"""In how many directions a k-set can move such that the policy changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents.battery.battery import Battery
from nb_agents.battery.distributions import embedding, prepare


@dataclass(frozen=True)
class EffectiveDimensions:
    """The Fisher information of a policy in its k's.

    Attributes:
        eigenvalues: In falling order, shape ``(n_k,)``; nats per squared unit of k, twice what a short step of length 1
            costs in KL divergence.
        directions: The unit vectors that belong to them, one in each row, shape ``(n_k, n_k)``.
        tolerance: Eigenvalues up to this are 0 but for rounding.
    """

    eigenvalues: NDArray[np.float64]
    directions: NDArray[np.float64]
    tolerance: float

    @property
    def rank(self) -> int:
        """Directions in which the policy changes at all."""
        return int((self.eigenvalues > self.tolerance).sum())

    @property
    def participation(self) -> float:
        """(Σ λ)² / Σ λ²: as many equal eigenvalues would be as concentrated; 0 if there is none but 0."""
        squares = float((self.eigenvalues**2).sum())
        return float(self.eigenvalues.sum()) ** 2 / squares if squares else 0.0


def effective_dimensions(policy: nn.Module | BaseAlgorithm, observations: Any) -> EffectiveDimensions:
    """The spectrum of the Fisher information in k, mean over observations, at the k's that the policy has.

    It is the Hessian of the KL divergence to the policy itself, in closed form from the derivatives of the
    distribution's parameters. NB Pro's gates have an eigenvalue of 0 for each layer, because the layer's number does
    what its blocks' numbers do together.

    Args:
        policy: k-gated policy, or an SB3 model with one; it is not changed.
        observations: Batch of observations as the policy sees them; at best of the states that it visits.

    Raises:
        TypeError: If it is no k-gated policy with a distribution of actions, see `Battery.distance`.
        ValueError: If its k's are computed, or observations are of another space, none, or not finite.
    """
    battery = Battery(policy)
    tensors = prepare(battery.network, observations)
    gates = list(battery.gates.values())
    k = torch.cat([gate.k.detach().to(gates[0].k) for gate in gates])

    def coordinates(at: torch.Tensor) -> torch.Tensor:
        return embedding(battery._components(at, tensors))

    # By reverse mode twice: forward mode would import decompositions for which torch warns.
    jvp: Any = torch.autograd.functional.jvp
    columns = [jvp(coordinates, k, unit)[1] for unit in torch.eye(len(k)).to(k)]
    jacobian = torch.stack([column.detach().flatten() for column in columns], dim=1).cpu().numpy()
    n = len(next(iter(tensors.values()))) if isinstance(tensors, dict) else len(tensors)
    values, directions = np.linalg.eigh(jacobian.T @ jacobian / n)
    values = values[::-1].clip(min=0.0)
    # Derivatives are as exact as the network's numbers, and eigenvalues are their squares' sums.
    tolerance = float(values[0]) * len(k) * torch.finfo(k.dtype).eps ** 2 * 10.0
    return EffectiveDimensions(values, directions.T[::-1].copy(), tolerance)
