"""The gate of the paper's released code: a kind of its own, and the shortest example of one."""

from __future__ import annotations

import torch

from nb_agents.gates.gate import KGate


class ClampedKGate(KGate):
    """A gate of at most 1; without ``gate_max`` only σ(k_layer) + block_weight · σ(k_block) can pass it."""

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        """The gate, see `KGate.gate`, clamped; where it is clamped its gradient is 0."""
        return super().gate(k).clamp(max=1.0)

    def rows(self, k: torch.Tensor) -> torch.Tensor:
        """The gates of many k-sets, see `KGate.rows`."""
        return self._of_rows(k).clamp(max=1.0)
