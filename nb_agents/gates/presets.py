"""The paper's own settings of its gates, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PAPER: Mapping[str, Any] = MappingProxyType(
    {"gate_max": None, "block_weight": 0.3, "k_init": 0.25, "k_lr_ratio": 5.0, "k_target": 0.3, "k_target_weight": 0.1}
)
"""Arguments of `nb_agents.KGatedMixin`: ``policy_kwargs={**PAPER, "block_size": None}`` for NB, 16 for NB Pro.

The gates start at 0.56 (NB Pro: 0.73), their k's are drawn to the k-target, and learn five times as fast as the
weights. Our defaults differ, for with these a policy learns worse than without gates, see docs/results.md.
"""
