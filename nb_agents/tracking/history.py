"""k over the course of a training, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from nb_agents.gates.gate import KGate


class GateHistory:
    """Every k of a network over the time steps, in a bounded number of rows.

    When there are more than `max_rows`, every second one goes and new ones are kept half as densely, so that the rows
    always span the whole training. The newest row is always there.

    Args:
        names: Name of each column: ``layer_0``, ``layer_0_block_0``, ...; also an attribute.
        max_rows: Largest number of rows, at least 2.
        phi: Formula of the gates, see `KGate.phi`; also an attribute.

    Raises:
        ValueError: If `max_rows` is below 2.
    """

    def __init__(
        self, names: tuple[str, ...], max_rows: int = 1000, phi: Callable[[torch.Tensor], torch.Tensor] = KGate.phi
    ) -> None:
        if max_rows < 2:
            raise ValueError(f"max_rows must be >= 2, got {max_rows!r}")
        self.names, self.phi = names, phi
        self._max_rows = max_rows
        self._spacing = 0.0
        self._rows: list[tuple[int, NDArray[np.float32]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def timesteps(self) -> NDArray[np.int64]:
        """When the rows were taken, in SB3's ``num_timesteps``, rising; shape ``(num_rows,)``."""
        return np.array([timesteps for timesteps, _ in self._rows], dtype=np.int64)

    @property
    def k(self) -> NDArray[np.float32]:
        """The k's, shape ``(num_rows, len(names))``."""
        return np.array([k for _, k in self._rows], dtype=np.float32).reshape(len(self), len(self.names))

    @property
    def values(self) -> NDArray[np.float64]:
        """The gates' values φ(k), shape ``(num_rows, len(names))``."""
        return self.phi(torch.from_numpy(self.k.astype(np.float64))).numpy()

    def add(self, timesteps: int, k: NDArray[np.float32]) -> None:
        """Add a row; it takes the place of those that are not before it, as when a new training counts from 0.

        Args:
            timesteps: Time step at which it was taken.
            k: The k's, shape ``(len(names),)``; kept, not copied.
        """
        rows = self._rows
        while rows and rows[-1][0] >= timesteps:
            rows.pop()
        if len(rows) > 1 and rows[-1][0] - rows[-2][0] < self._spacing:
            rows.pop()
        rows.append((timesteps, k))
        if len(rows) > self._max_rows:
            self._spacing = 2 * (rows[-1][0] - rows[0][0]) / self._max_rows
            self._rows = [*rows[:-1:2], rows[-1]]
