"""Gates of either sign: a kind that can turn a unit around, which no σ can."""

from __future__ import annotations

import math

import torch

from nb_agents.gates.gate import KGate


class SignedKGate(KGate):
    """A gate in (−``gate_max``, ``gate_max``): φ(k) = tanh(k / 2), which is 2 σ(k) − 1.

    It is 0 where k = 0 and, with the default ``gate_max`` of 2, 1 where k = ln 3, at which a new gate starts.
    """

    k_start = math.log(3.0)

    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        """See `KGate.phi`."""
        return torch.tanh(0.5 * k)
