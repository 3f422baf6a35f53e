"""The methods: which numbers of the network each of them changes, and with which learning rate.

Every rate was chosen among three neighbours, by `python -m benchmarks vision-tune` on the tuning seeds, and on pictures
that no report uses. Which three they are was moved on where the best was the first or the last of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nb_evaluation.method import DENSE, Described, Style

STEPS, BATCH = 100, 64
"""Steps of Adam of every method, and pictures of a step; there may be fewer pictures than that."""

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""The rates that three neighbours are taken from."""


@dataclass(frozen=True, kw_only=True)
class Method(Described):
    """A method.

    Attributes:
        part: What trains, a key of `parts.PARTS`; empty for nothing.
        options: Arguments of the part.
        rate: Adam's learning rate at the start, from where it falls to 0 as a cosine.
        trials: Rates of which it was chosen.
        statistics: Whether batch normalization's means and variances are those of the target's pictures from then on.
    """

    part: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 0.0
    trials: tuple[float, ...] = ()
    statistics: bool = False


METHODS = {
    "source": Method(summary="the network as it is", style=Style("#999999", ":", "x")),
    "nb-k": Method(
        summary="a gate per layer", part="gates", options={"block_size": None}, rate=1e-1, trials=RATES[4:7],
        style=Style("#56B4E9", "-", "^"),
    ),
    "nb-pro-k": Method(
        summary="gates per layer and per block of 16", part="gates", options={"block_size": 16},
        rate=3e-1, trials=RATES[5:8], style=Style("#56B4E9", "--", "v"),
    ),
    "nb-channel-k": Method(
        summary="a gate per channel", part="gates", options={"block_size": 1}, rate=3e-1, trials=RATES[5:8],
        style=Style("#0072B2", "-", "s"),
    ),
    "nb-signed-k": Method(
        summary="a signed gate per channel", part="gates", options={"block_size": 1, "kind": "signed"},
        rate=3e-1, trials=RATES[4:7], style=Style("#0072B2", "--", "D"),
    ),
    "nb-film-k": Method(
        summary="a signed gate and a shift per channel", part="gates", options={"block_size": 1, "kind": "film"},
        rate=1e-1, trials=RATES[4:7], style=Style("#0072B2", DENSE, "o"),
    ),
    "biases": Method(
        summary="all biases", part="named", options={"ending": "bias"}, rate=1e-1, trials=RATES[4:7],
        style=Style("#E69F00", "-", "P"),
    ),
    "bn-statistics": Method(
        summary="batch normalization's statistics, of the pictures without their labels", statistics=True,
        style=Style("#009E73", ":", "h"),
    ),
    "bn-affine": Method(
        summary="batch normalization's scales and shifts", part="norms", rate=3e-2, trials=RATES[3:6],
        style=Style("#009E73", "--", "H"),
    ),
    "head": Method(
        summary="the last layer", part="named", options={"beginning": "head."}, rate=1e-2, trials=RATES[2:5],
        style=Style("#E69F00", "--", "X"),
    ),
    "bn-head": Method(
        summary="the last layer, and batch normalization's statistics, scales and shifts", part="norms",
        options={"beside": "head."}, statistics=True, rate=1e-2, trials=RATES[2:5], style=Style("#CC79A7", "-", "*"),
    ),
    "lora-1": Method(
        summary="LoRA of rank 1 on all layers", part="lora", options={"rank": 1}, rate=1e-2, trials=RATES[2:5],
        style=Style("#D55E00", "-", "<"),
    ),
    "lora-4": Method(
        summary="LoRA of rank 4", part="lora", options={"rank": 4}, rate=3e-3,
        trials=RATES[1:4], style=Style("#D55E00", "--", ">"),
    ),
    "fine-tune": Method(
        summary="all weights and statistics", part="named", statistics=True, rate=1e-3,
        trials=RATES[0:3], style=Style("#000000", "-", "o"),
    ),
}  # fmt: skip
