"""Places of a layer's units in a tensor, and the gates that scale them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Runs = tuple[tuple[int, tuple[str, ...]], ...]
"""Neighbouring units: how many, and the names of the gates that scale them."""


@dataclass(frozen=True)
class Piece:
    """A stretch of features made of units.

    Attributes:
        runs: The units; empty for features that no gate can scale.
        pattern: Way in which units became features: one each, each ``repeat``-ed over neighbouring places (flattened
            channels), or the whole row of them ``tile``-d.
        width: Number of features, None if unknown.
    """

    runs: Runs = ()
    pattern: Literal["each", "repeat", "tile"] = "each"
    width: int | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return sum(n for n, _ in self.runs)

    def expand(self, width: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The runs as ``width`` features."""
        if not self.runs:
            yield width, ()
        times = width // max(1, self.n_units)
        for _ in range(times if self.pattern == "tile" else 1):
            for n, gates in self.runs:
                yield n * (times if self.pattern == "repeat" else 1), gates


@dataclass(frozen=True)
class Layout:
    """The places of a tensor's units: along ``axis`` (negative), piece by piece.

    Attributes:
        axis: The units' axis, counted from the end.
        pieces: Features along it.
        assumed: Whether the pieces lie there only if the number of dimensions is the usual one. The sizes of a layer
            that reads along the axis prove it; a reshape must not build on it.
    """

    axis: int
    pieces: tuple[Piece, ...]
    assumed: bool = False

    @property
    def gates(self) -> frozenset[str]:
        """Names of the gates that scale any of the units."""
        return frozenset(name for piece in self.pieces for _, gates in piece.runs for name in gates)

    @property
    def width(self) -> int | None:
        """Number of features along the axis, None if unknown."""
        known = [piece.width for piece in self.pieces if piece.width is not None]
        return sum(known) if len(known) == len(self.pieces) else None

    def without_gates(self) -> Layout:
        """The same units, unscaled."""
        pieces = (replace(piece, runs=tuple((n, ()) for n, _ in piece.runs)) for piece in self.pieces)
        return Layout(self.axis, tuple(pieces), self.assumed)

    def flat_runs(self) -> Runs | None:
        """The units one after the other; None if the size of some is unknown or they are repeated already."""
        if self.width is None or any(piece.pattern != "each" for piece in self.pieces):
            return None
        return tuple(run for piece in self.pieces for run in piece.expand(piece.width or 0))

    def features(self, width: int) -> Runs | None:
        """Runs of features, ``width`` in all; None if that leaves the size of a piece open."""
        unknown = [piece for piece in self.pieces if piece.width is None]
        rest = width - sum(piece.width or 0 for piece in self.pieces)
        if len(unknown) > 1 or (rest <= 0 if unknown else rest != 0):
            return None
        runs: list[tuple[int, tuple[str, ...]]] = []
        for piece in self.pieces:
            size = rest if piece.width is None else piece.width
            if piece.runs and size % piece.n_units:
                return None
            runs.extend(piece.expand(size))
        return tuple(runs)


def units(n: int, spatial_dims: int = 0, gates: tuple[str, ...] = ()) -> Layout:
    """The layout behind a layer of ``n`` units or channels."""
    return Layout(-1 - spatial_dims, (Piece(((n, gates),), width=n),))
