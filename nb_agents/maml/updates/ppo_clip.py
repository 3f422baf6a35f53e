"""PPO-clip outer update over the adapted policies, and ProMP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from nb_agents._checks import check_count, check_number, check_positive
from nb_agents.maml.inner import Adaptation, Batch, ratios
from nb_agents.maml.updates.base import MetaData, MetaParameters, Optimize, Updated, join, loss_gradient


@dataclass(frozen=True)
class PPOClipUpdate:
    """Several gradient steps on PPO's clipped objective of the adapted policies (Schulman et al. 2017).

    After each of them θ is adapted anew on the same inner data, whose likelihood ratios follow θ. With
    ``inner_kl_weight`` > 0 the objective also charges for moving the policies that collected the inner data, which is
    ProMP (Rothfuss et al. 2019, https://arxiv.org/abs/1810.06784). Steps are taken by the policy's own optimizer, at
    the algorithm's ``learning_rate``.

    Attributes:
        n_epochs: Number of gradient steps per meta-iteration, each on all data.
        clip_range: Bound of the ratio's distance from 1, > 0.
        inner_kl_weight: Weight η of the mean over inner steps of KL(old ‖ new).
    """

    n_epochs: int = 5
    clip_range: float = 0.3
    inner_kl_weight: float = 0.0
    needs_outer_data: ClassVar[bool] = True
    uses_optimizer: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("n_epochs", self.n_epochs)
        check_number("inner_kl_weight", self.inner_kl_weight, low=0.0)
        check_positive("clip_range", self.clip_range)

    def update(self, data: MetaData, meta: MetaParameters, adaptation: Adaptation, optimize: Optimize) -> Updated:
        """See `OuterUpdate.update`."""
        loss = 0.0
        for epoch in range(self.n_epochs):
            if epoch > 0:
                adaptation = data.adapt(meta, differentiable=True)
            loss, cotangents = data.outer_gradient(
                adaptation.params[-1], lambda outputs, batch: self._loss(data, outputs, batch)
            )
            gradient = join(meta, adaptation.pullback(cotangents, self._penalty_gradients(data, adaptation)))
            meta = optimize(gradient)
        _, divergence = data.evaluate(data.adapt(meta, differentiable=False).params[-1])
        return meta, {"surrogate": loss, "kl": divergence}

    def _loss(self, data: MetaData, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        ratio = ratios(data.actor, outputs, batch)
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        return -(batch.weights * torch.minimum(ratio * batch.advantages, clipped * batch.advantages)).sum(dim=1)

    def _penalty_gradients(self, data: MetaData, adaptation: Adaptation) -> list[torch.Tensor]:
        if self.inner_kl_weight == 0.0:
            return []
        weight = self.inner_kl_weight / max(len(data.inner), 1)

        def penalty(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            return weight * (batch.weights * data.actor.kl(batch.old_outputs, outputs)).sum(dim=1)

        before = zip(adaptation.params, data.inner, strict=False)  # the parameters that enter each step
        return [loss_gradient(data.actor, params, batch, penalty)[1] for params, batch in before]
