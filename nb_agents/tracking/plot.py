"""The picture of k over a training."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nb_agents.tracking.history import GateHistory
from nb_evaluation.files import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which the colour-blind can tell apart; yellow, too pale for lines, is left out."""

LINES = ("-", "--", "-.", ":")
"""Line styles: each layer has its own, and after four they come again with other colours."""


def plot_gates(history: GateHistory, path: str | os.PathLike[str]) -> None:
    """Draw the gates over the time steps: layers bold, their blocks thin in the same colour.

    Args:
        history: History that `nb_agents.KGateCallback` kept.
        path: The picture; its suffix says which kind (``.png``, ``.svg``, ``.pdf``). It is written at once or not at
            all.

    Raises:
        ImportError: If matplotlib is not installed.
        OSError: If the picture cannot be written.
        ValueError: If the history is empty, or matplotlib does not write pictures of that kind.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plotting gates needs matplotlib: pip install "neural-battery[plot]"') from error
    if not len(history):
        raise ValueError("history must have at least one row, got an empty one")
    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    axes = figure.subplots()
    _draw(axes, history)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix[1:] or "png", dpi=150)
    write_atomically(path, buffer.getvalue())


def _draw(axes: Any, history: GateHistory) -> None:
    gates = history.values
    for name, gate in zip(history.names, gates.T, strict=True):
        layer = int(name.split("_")[1])
        style = {"color": COLOURS[layer % len(COLOURS)], "linestyle": LINES[layer % len(LINES)]}
        if name != f"layer_{layer}":
            axes.plot(history.timesteps, gate, **style, linewidth=0.8, alpha=0.6)
        else:
            axes.plot(history.timesteps, gate, **style, linewidth=2.5, label=name.replace("_", " "), zorder=3)
    low, high = float(np.nanmin(gates)), float(np.nanmax(gates))  # a training that went astray is worth seeing too
    margin = 0.05 * max(high - low, 0.02)
    k = np.linspace(-20.0, 20.0, 8001)
    values = history.phi(torch.from_numpy(k)).numpy()
    if np.all(np.diff(values) > 0):  # else k is no function of the gate
        axes.set_ylim(max(low - margin, values[0]), min(high + margin, values[-1]))
        inverse = partial(np.interp, xp=values, fp=k), partial(np.interp, xp=k, fp=values)
        axes.secondary_yaxis("right", functions=inverse).set_ylabel("k")
    axes.set_xlabel("time steps")
    axes.set_ylabel("gate φ(k): layers bold, blocks thin")
    axes.spines["top"].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=6, borderaxespad=0.2)
