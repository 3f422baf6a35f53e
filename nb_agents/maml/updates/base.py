"""Data of one meta-iteration, and objectives of the adapted policies on it, for every outer update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch

from nb_agents.maml.actor import StackedActor
from nb_agents.maml.inner import Adaptation, Batch, surrogate


@dataclass(frozen=True)
class MetaParameters:
    """Parameters that the outer loop learns.

    Attributes:
        theta: The initialisation, shape ``(n_params,)``.
        rates: The inner step sizes, shape ``(n_params,)``.
        learn_rates: Whether the outer loop moves the rates too (Meta-SGD).
    """

    theta: torch.Tensor
    rates: torch.Tensor
    learn_rates: bool = False

    @property
    def vector(self) -> torch.Tensor:
        """All that is learned as one vector: θ, or θ and the rates."""
        return torch.cat([self.theta, self.rates]) if self.learn_rates else self.theta

    def replace(self, vector: torch.Tensor) -> MetaParameters:
        """The parameters that `vector` stands for."""
        if not self.learn_rates:
            return MetaParameters(vector, self.rates, False)
        theta, rates = vector.chunk(2)
        return MetaParameters(theta, rates, True)


@dataclass(frozen=True)
class MetaData:
    """One meta-iteration's data: a batch for each inner step, and one of the adapted policies.

    Attributes:
        inner: Batches of the K inner steps, of all tasks.
        outer: The batch that the adapted policies collected.
        second_order: Whether derivatives see through the inner steps.
    """

    actor: StackedActor
    inner: tuple[Batch, ...]
    outer: Batch
    second_order: bool = True

    def thin(self, factor: int, least: int) -> MetaData:
        """One in ``factor`` samples of every batch, but at least ``least`` of each batch (all tasks together)."""
        if factor == 1:
            return self

        def thinned(batch: Batch) -> Batch:
            tasks, samples = batch.weights.shape
            return batch.thin(max(samples // factor, -(-least // tasks)))

        inner = tuple(thinned(batch) for batch in self.inner)
        return MetaData(self.actor, inner, thinned(self.outer), self.second_order)

    def adapt(self, meta: MetaParameters, *, differentiable: bool) -> Adaptation:
        """The inner loop from ``meta``, on the inner batches."""
        second_order = differentiable and self.second_order
        adaptation = Adaptation(self.actor, meta.theta, meta.rates, self.outer.tasks, second_order=second_order)
        for batch in self.inner:
            adaptation.step(batch)
        return adaptation

    def evaluate(self, params: torch.Tensor) -> tuple[float, float]:
        """Mean over tasks of the outer loss and of KL(old ‖ new) at adapted parameters ``(tasks, n_params)``.

        The loss is the surrogate and, of a k-gated policy, the k-target loss.
        """
        loss = torch.zeros((), dtype=torch.float64, device=params.device)
        divergence = torch.zeros_like(loss)
        with torch.no_grad():
            for tasks, part in self.outer.chunks():
                outputs = self.actor.outputs(params[tasks], part.observations)
                loss += surrogate(self.actor, outputs, part).sum()
                divergence += (part.weights * self.actor.kl(part.old_outputs, outputs)).sum()
            if self.actor.k_target:
                loss += self.actor.k_target.value(params).sum()
        return float(loss) / self.outer.tasks, float(divergence) / self.outer.tasks

    def outer_gradient(
        self, params: torch.Tensor, loss: Callable[[torch.Tensor, Batch], torch.Tensor]
    ) -> tuple[float, torch.Tensor]:
        """`loss_gradient` on the outer batch, with the k-target loss that the actors may have beside ``loss``."""
        total, gradient = loss_gradient(self.actor, params, self.outer, loss)
        if not self.actor.k_target:
            return total, gradient
        tasks = self.outer.tasks
        total += float(self.actor.k_target.value(params).sum()) / tasks
        return total, gradient + self.actor.k_target.gradient(params) / tasks


Optimize: TypeAlias = Callable[[torch.Tensor], MetaParameters]
"""A step of the policy's own optimizer: from a gradient, of the shape of ``meta.vector``, to the meta-parameters."""

Updated: TypeAlias = tuple[MetaParameters, dict[str, float]]
"""The new meta-parameters, and numbers for the log by their names."""


@runtime_checkable
class OuterUpdate(Protocol):
    """Turns a meta-iteration's data into new meta-parameters.

    Attributes:
        needs_outer_data: Whether the adapted policies must collect data.
        uses_optimizer: Whether it steps the policy's optimizer, at the algorithm's learning rate.
    """

    @property
    def needs_outer_data(self) -> bool: ...  # noqa: D102

    @property
    def uses_optimizer(self) -> bool: ...  # noqa: D102

    def update(self, data: MetaData, meta: MetaParameters, adaptation: Adaptation, optimize: Optimize) -> Updated:
        """One outer update.

        Args:
            data: The meta-iteration's data.
            meta: The meta-parameters that collected it.
            adaptation: Their adaptation, as it was rolled out.
            optimize: The policy's optimizer, see `Optimize`.
        """
        ...


def join(meta: MetaParameters, gradients: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Gradients in θ and in the rates as one vector of the shape of ``meta.vector``."""
    return torch.cat(gradients) if meta.learn_rates else gradients[0]


def loss_gradient(
    actor: StackedActor, params: torch.Tensor, batch: Batch, loss: Callable[[torch.Tensor, Batch], torch.Tensor]
) -> tuple[float, torch.Tensor]:
    """Mean over tasks of a loss on a batch, and its gradient in each task's parameters.

    Args:
        actor: Actor that evaluates the parameters.
        params: Stacked parameters, shape ``(tasks, n_params)``.
        batch: The data.
        loss: Function from outputs and batch to one loss per task, shape ``(tasks,)``.

    Returns:
        The loss and its gradient, shape ``(tasks, n_params)``.
    """
    total, gradients = 0.0, []
    for tasks, part in batch.chunks():
        leaf = params[tasks].detach().clone().requires_grad_()
        value = loss(actor.outputs(leaf, part.observations), part).sum() / batch.tasks
        gradients.append(torch.autograd.grad(value, leaf)[0])
        total += value.item()
    return total, torch.cat(gradients)
