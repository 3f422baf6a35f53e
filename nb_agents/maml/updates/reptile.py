"""Reptile's outer update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nb_agents._checks import check_positive
from nb_agents.maml.inner import Adaptation
from nb_agents.maml.updates.base import MetaData, MetaParameters, Optimize, Updated


@dataclass(frozen=True)
class ReptileUpdate:
    """Move θ towards the mean of the adapted parameters (Nichol et al. 2018, https://arxiv.org/abs/1803.02999).

    It needs no derivative through the inner loop and no data of the adapted policies, so none are collected.

    Attributes:
        step_size: Fraction of the way, in (0, 1].
    """

    step_size: float = 0.5
    needs_outer_data: ClassVar[bool] = False
    uses_optimizer: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size, high=1.0)

    def update(self, data: MetaData, meta: MetaParameters, adaptation: Adaptation, optimize: Optimize) -> Updated:
        """See `OuterUpdate.update`; the policy's optimizer is not used."""
        step = self.step_size * (adaptation.params[-1].mean(dim=0) - meta.theta)
        return MetaParameters(meta.theta + step, meta.rates), {"step_norm": float(step.norm())}
