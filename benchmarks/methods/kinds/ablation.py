"""NB Pro with one thing changed."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.methods.kinds.gradient import GradientMethod

TRAINED_OTHERWISE, OTHER_GATES = "NB Pro trained otherwise", "NB Pro with other gates"
"""Panels of the figures that draw lines."""


@dataclass(frozen=True, kw_only=True)
class Variant(GradientMethod):
    """NB Pro with one thing changed, for the ablation."""

    gated: bool = True
    block_size: int | None = 16
    compared: bool = False
