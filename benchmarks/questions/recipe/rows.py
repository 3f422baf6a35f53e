"""The rows of the recipe's table: what distinguishes each, and which share a pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.protocol.settings import PPOSettings
from nb_evaluation.method import Described

SOURCE_A, TARGET_A = 1.0, 1.8
PHASES = {SOURCE_A: 50, TARGET_A: 100}
"""The published budget: drive amplitude and episodes of 1,000 steps, one decision each."""

EPISODES_PER_ROUND = 10
"""Episodes that a seed collects with one policy, side by side, before it trains on them one by one."""

BENCHMARK_CHANNELS = PPOSettings().observe
"""θ, θ̇ and the drive's phase at the scale of the other benchmarks."""
PAPER_CHANNELS: Mapping[str, float] = {}
"""θ and θ̇ as they are, the paper's observation."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What distinguishes a row.

    Attributes:
        expert: "feed-forward" (drive cancelled + PD), "pd", "sb3" (a PPO policy trained on that A), or None for the
            policy's own previous action, as in the released code.
        observe: Channels and their scale; empty for the paper's.
        hierarchical: NB Pro, else NB.
        gated: Whether there are gates at all.
        adapt: Part that may change at A = 1.8: "all" or "gates".
        aggregate: Whether a step trains on all episodes of the phase so far, else on its own episode alone.
        updates: Number of gradient steps for each episode; 0 trains nothing.
        batch_size: Number of rows of a gradient step; None for all that there are.
        lr: Rate of the weights; the k's have five times as much.
        gamma: Discount of the returns; None for the rewards themselves, as in the released code.
        trainer: Further arguments of `NeuralBatteryTrainer`.
    """

    expert: str | None = "feed-forward"
    observe: Mapping[str, float] = field(default_factory=lambda: BENCHMARK_CHANNELS)
    hierarchical: bool = True
    gated: bool = True
    adapt: str = "all"
    aggregate: bool = True
    updates: int = 5
    batch_size: int | None = 128
    lr: float = 1e-3
    gamma: float | None = 0.99
    trainer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MAMLSettings:
    """Settings of supervised MAML: what was tuned, and what was not.

    Attributes:
        inner_steps: Gradient steps from the meta-parameters to the adapted ones; the published number.
        inner_lr: Rate of these steps.
        outer_lr: Adam's rate for the meta-parameters.
        updates: Number of meta-updates for each episode collected, as many as the recipe makes gradient steps.
        tasks: Number of tasks in a meta-update.
        batch_size: Number of rows of a task's support and of its query in a meta-update.
        spread: Half the width of the uniform range of A around the source's while pretraining.
    """

    inner_steps: int = 5
    inner_lr: float = 0.1
    outer_lr: float = 3e-3
    updates: int = 5
    tasks: int = 2
    batch_size: int = 128
    spread: float = 0.4


AS_RELEASED = Variant(
    expert=None,
    observe=PAPER_CHANNELS,
    aggregate=False,
    updates=1,
    batch_size=None,
    gamma=None,
    # The release averages the k-target loss over the two layers, where the paper prints a sum.
    trainer={"learn_k_target": True, "clamp_gate": True, "k_target_weight": 0.05},
)
AS_PRINTED = Variant()

GROUPS: tuple[dict[str, Variant], ...] = (
    {"untrained nb-pro": replace(AS_RELEASED, updates=0)},
    {"untrained nb": replace(AS_RELEASED, updates=0, hierarchical=False)},
    {"as-released nb-pro": AS_RELEASED},
    {"as-released nb": replace(AS_RELEASED, hierarchical=False)},
    {"as-printed nb-pro, one update": replace(AS_PRINTED, aggregate=False, updates=1, batch_size=None)},
    {"as-printed nb-pro": AS_PRINTED, "as-printed nb-pro-k": replace(AS_PRINTED, adapt="gates")},
)
CONTROLS: tuple[dict[str, Variant], ...] = (
    {
        "as-printed nb": replace(AS_PRINTED, hierarchical=False),
        "as-printed nb-k": replace(AS_PRINTED, hierarchical=False, adapt="gates"),
    },
    {"as-printed, no gates": replace(AS_PRINTED, gated=False)},
    {"as-printed nb-pro, PD expert, θ and θ̇ only": replace(AS_PRINTED, expert="pd", observe=PAPER_CHANNELS)},
    {"as-printed nb-pro, PPO expert": replace(AS_PRINTED, expert="sb3")},
)
"""Rows by name; those of a group share their pretraining."""

CONTROL_SEEDS = 5
"""Controls and MAML are made for the first seeds only: the published number of them, and no more."""

MAML = "supervised MAML"
VARIANTS = {name: variant for group in (*GROUPS, *CONTROLS) for name, variant in group.items()}
FULL = [name for group in GROUPS for name in group]
"""Rows with all seeds."""

ROWS = {name: Described(summary=name) for name in [*FULL, MAML, *(name for group in CONTROLS for name in group)]}
