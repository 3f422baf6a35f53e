"""The picture of k-sets by the divergence of their policies."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nb_evaluation.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_tree(
    names: Sequence[str], divergences: NDArray[np.float64], path: str | os.PathLike[str] | None = None
) -> Figure:
    """Draw k-sets as a dendrogram; see `nb_agents.battery.choosing.Choosing.tree`.

    Args:
        names: Names of the k-sets.
        divergences: KL(i || j) for all pairs in nats, shape ``(n, n)``.
        path: A picture to write.

    Raises:
        ImportError: If matplotlib or SciPy is not installed.
        OSError: If the picture cannot be written.
        ValueError: If a divergence is not finite.
    """
    try:
        from matplotlib.figure import Figure
        from scipy.cluster.hierarchy import dendrogram, linkage
        from scipy.spatial.distance import squareform
    except ImportError as error:
        raise ImportError('a tree needs matplotlib and SciPy: pip install "neural-battery[plot]"') from error
    if not np.isfinite(divergences).all():
        first, second = np.argwhere(~np.isfinite(divergences))[0]
        raise ValueError(f"divergences must be finite, got {divergences[first, second]} from {names[first]!r} to "
                         f"{names[second]!r}")  # fmt: skip
    lengths = np.sqrt(divergences + divergences.T)  # √(2 · mean of both)
    joined = linkage(squareform(lengths), method="average")
    figure = Figure(figsize=(6.0, 1.0 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    dendrogram(
        joined, labels=list(names), orientation="right", color_threshold=0.0, above_threshold_color="#0072B2", ax=axes
    )
    axes.set_xlabel("√(2 KL) between the policies")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    if path is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=Path(path).suffix[1:] or "png", dpi=150)
        write_atomically(path, buffer.getvalue())
    return figure
