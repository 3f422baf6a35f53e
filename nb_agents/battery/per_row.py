"""A k-set of its own for each row of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from nb_agents.gates.gate import KGate


def distinct(rows: Any, known: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The names that occur in ``rows``, so that each gate is computed once.

    Args:
        rows: Names, or indices into ``known``, one per row of a batch.
        known: All names.

    Returns:
        The names that occur, and for each row which of them, shape ``(batch,)``.

    Raises:
        TypeError: If ``rows`` holds something else than names and integers.
        ValueError: If it is empty or not one-dimensional, or an index is out of range.
    """
    if isinstance(rows, (torch.Tensor, np.ndarray)):
        if rows.ndim != 1:
            raise ValueError(f"rows must have shape (batch,), got {tuple(rows.shape)}")
        rows = rows.tolist()
    elif isinstance(rows, str) or not isinstance(rows, Sequence):
        raise TypeError(f"rows must be a sequence of names or indices, one per row of the batch, got {rows!r}")
    names = []
    for row in rows:
        if isinstance(row, str):
            names.append(row)
        elif not isinstance(row, (int, np.integer)) or isinstance(row, bool):
            raise TypeError(f"rows must hold names or integers, got {row!r}")
        elif not 0 <= row < len(known):
            raise ValueError(f"rows must hold indices in [0, {len(known)}), got {row}")
        else:
            names.append(known[int(row)])
    if not names:
        raise ValueError("rows must have one entry per row of the batch, got none")
    position = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return list(position), torch.tensor([position[name] for name in names])


@contextmanager
def gates_per_row(
    gates: Sequence[KGate], k_sets: Sequence[Sequence[torch.Tensor]], index: torch.Tensor
) -> Iterator[None]:
    """Within the context, row i of a batch passes through the gates of ``k_sets[index[i]]``.

    Args:
        gates: The network's gates.
        k_sets: The k's of each gate for each k-set, shape ``(len(gate.k),)``.
        index: Index of each row's k-set, shape ``(batch,)``.
    """
    with torch.no_grad():
        per_row = [_spread(gate, [k_set[i].to(gate.k) for k_set in k_sets], index) for i, gate in enumerate(gates)]
    with _replaced(gates, per_row):
        yield


@contextmanager
def gates_of(gates: Sequence[KGate], k: torch.Tensor) -> Iterator[None]:
    """Within the context, row i of a batch passes through the gates of ``k[i]``, in operations that can be traced.

    Args:
        gates: The network's gates.
        k: k-sets, the k's of all gates in order, shape ``(batch, n_k)``.
    """
    parts = torch.split(k, [gate.k.numel() for gate in gates], dim=1)
    k_sets = [part.to(gate.k.dtype) for gate, part in zip(gates, parts, strict=True)]
    with _replaced(gates, [(gate.rows(each), gate.shifts(each)) for gate, each in zip(gates, k_sets, strict=True)]):
        yield


@contextmanager
def _replaced(gates: Sequence[KGate], per_row: Sequence[tuple[torch.Tensor, torch.Tensor | None]]) -> Iterator[None]:
    """Within the context, these are the gates and shifts of the rows."""
    before = [gate.__dict__.get("forward") for gate in gates]
    try:
        for gate, (g, shift) in zip(gates, per_row, strict=True):
            # In the instance's own table, which Python consults before the class: other forward passes pay nothing.
            gate.__dict__["forward"] = partial(_forward, gate.activation, g, shift)
        yield
    finally:
        for gate, forward in zip(gates, before, strict=True):
            del gate.__dict__["forward"]
            if forward is not None:
                gate.__dict__["forward"] = forward


def _spread(
    gate: KGate, k_sets: Sequence[torch.Tensor], index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Gates and shifts of the rows."""
    index, shifts = index.to(gate.k.device), [gate.shift(k) for k in k_sets]
    added = [shift for shift in shifts if shift is not None]
    return torch.stack([gate.gate(k) for k in k_sets])[index], torch.stack(added)[index] if added else None


def _forward(activation: nn.Module, g: torch.Tensor, shift: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """`KGate.forward` with ``g`` and ``shift`` of shape ``(batch, n_units or 1, *spatial ones)``."""
    if x.dim() < g.dim() or x.shape[0] != g.shape[0]:  # not len(), which would fix the size in an export
        raise ValueError(f"per_row was given {len(g)} rows, but the batch has shape {tuple(x.shape)}")
    if x.dim() > g.dim():  # as in a sequence
        wider = (slice(None), *(None,) * (x.dim() - g.dim()))
        g, shift = g[wider], None if shift is None else shift[wider]
    scaled: torch.Tensor = activation(x) * g
    return scaled if shift is None else scaled + shift
