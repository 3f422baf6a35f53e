"""The inner loop: gradient steps of all tasks at once, and the derivative of their result.

With the surrogate ``L_k(θ) = −mean( π_θ(a|s) / π_k(a|s) · Â )`` on the data of round k (π_k the policy that collected
it, a constant), the inner loop is ``θ_{k+1} = θ_k − α ⊙ ∇L_k(θ_k)``. To a k-gated policy's L_k its k-target loss is
added, if it has a weight. The ratio's first derivative is the policy
gradient and so is, unlike that of ``log π · Â``, its second derivative (Foerster et al. 2018,
https://arxiv.org/abs/1802.05098; Rothfuss et al. 2019, https://arxiv.org/abs/1810.06784).

Each step's Jacobian is ``I − diag(α) H_k`` with the Hessian H_k of L_k, so derivatives pass through the loop as a
chain of Hessian-vector products, forwards (`Adaptation.pushforward`) and backwards (`Adaptation.pullback`). That is
exact, and the graph of no step is ever nested in that of another.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch

from nb_agents.maml.actor import StackedActor, chunks
from nb_agents.maml.baseline import advantages
from nb_agents.maml.rollout import Rollout

_KEPT_ROWS = 100_000
"""Samples up to which a graph is kept: some 300 MB with two layers of 64 units."""

Graph: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Stacked parameters and the surrogate's gradient in them."""


@dataclass(frozen=True)
class Batch:
    """Data of one round of rollouts for a loss, samples of each task in one row.

    Attributes:
        observations: Observations as the actor takes them, shape ``(tasks, samples, n_features)``.
        actions: Actions, shape ``(tasks, samples, *action_shape)``.
        advantages: Advantages, shape ``(tasks, samples)``.
        weights: Weights, 1 / number of the task's valid samples and 0 at padding, shape ``(tasks, samples)``.
        old_outputs: The acting distributions' parameters, shape ``(tasks, samples, n_outputs)``.
        old_log_probs: Log-probability of each action when it was taken, shape ``(tasks, samples)``.
    """

    observations: torch.Tensor
    actions: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor
    old_outputs: torch.Tensor
    old_log_probs: torch.Tensor

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return self.weights.shape[0]

    @classmethod
    def from_rollout(cls, actor: StackedActor, rollout: Rollout, gamma: float, gae_lambda: float) -> Batch:
        """Flatten the episodes of each task and compute their advantages, once."""
        mask = rollout.mask.flatten(1)
        outputs, actions = rollout.outputs.flatten(1, 2), rollout.actions.flatten(1, 2)
        return cls(
            observations=rollout.observations.flatten(1, 2),
            actions=actions,
            advantages=advantages(rollout, gamma, gae_lambda).flatten(1),
            weights=mask / mask.sum(dim=1, keepdim=True),
            old_outputs=outputs,
            old_log_probs=actor.log_prob(outputs, actions),
        )

    def select(self, tasks: slice) -> Batch:
        """The batch of some of the tasks."""
        return Batch(**{field.name: getattr(self, field.name)[tasks] for field in fields(self)})

    def thin(self, samples: int) -> Batch:
        """A number of samples of each task, drawn without replacement, weighted to a total of 1."""
        # Drawn, not strided: a stride that divides an episode's length would see the same moments of every episode.
        drawn = torch.randperm(self.weights.shape[1], device=self.weights.device)[:samples]
        thinned = {field.name: getattr(self, field.name)[:, drawn] for field in fields(self)}
        total = thinned["weights"].sum(dim=1, keepdim=True)
        thinned["weights"] = thinned["weights"] / total.clamp_min(1e-12)  # 0 where only padding was drawn
        return Batch(**thinned)

    def chunks(self) -> list[tuple[slice, Batch]]:
        """The batch in parts that fit the processor's cache, each with the tasks it holds."""
        return [(part, self.select(part)) for part in chunks(*self.weights.shape)]


def ratios(actor: StackedActor, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """π_θ(a|s) / π_old(a|s) of every sample, shape ``(tasks, samples)``; 1 in value where θ collected the batch."""
    return torch.exp(actor.log_prob(outputs, batch.actions) - batch.old_log_probs)


def surrogate(actor: StackedActor, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """−mean(ratio · advantage) of each task, shape ``(tasks,)``."""
    return -(batch.weights * ratios(actor, outputs, batch) * batch.advantages).sum(dim=1)


class InnerStep:
    """The gradient of surrogate and k-target loss at stacked parameters, and products with their Hessian.

    The gradient's graph is kept for these products, or built again for each where it would take too much memory.

    Args:
        actor: Actor that evaluates the parameters.
        params: Stacked parameters, shape ``(tasks, n_params)``.
        batch: The data.
        second_order: Whether `hessian_product` will be called.
    """

    def __init__(self, actor: StackedActor, params: torch.Tensor, batch: Batch, *, second_order: bool) -> None:
        self._actor, self._params = actor, params
        self._chunks = batch.chunks()
        keep = second_order and batch.weights.numel() <= _KEPT_ROWS
        self._graphs: list[Graph] | None = [] if keep else None
        parts = []
        for tasks, part in self._chunks:
            leaf, gradient = self._differentiate(tasks, part, create_graph=keep)
            parts.append(gradient.detach())
            if self._graphs is not None:
                self._graphs.append((leaf, gradient))
        self.gradient = torch.cat(parts)
        if actor.k_target:
            self.gradient += actor.k_target.gradient(params)

    def _differentiate(self, tasks: slice, part: Batch, *, create_graph: bool) -> Graph:
        leaf = self._params[tasks].detach().clone().requires_grad_()
        # The tasks' losses share no parameter, so the gradient of their sum holds each task's own.
        loss = surrogate(self._actor, self._actor.outputs(leaf, part.observations), part).sum()
        return leaf, torch.autograd.grad(loss, leaf, create_graph=create_graph)[0]

    def hessian_product(self, vectors: torch.Tensor) -> torch.Tensor:
        """Each task's Hessian times its vector, shapes ``(tasks, n_params)``."""
        products = []
        for i, (tasks, part) in enumerate(self._chunks):
            kept = self._graphs is not None
            leaf, gradient = self._graphs[i] if self._graphs else self._differentiate(tasks, part, create_graph=True)
            products.append(torch.autograd.grad(gradient, leaf, vectors[tasks], retain_graph=kept)[0])
        product = torch.cat(products)
        return (
            product + self._actor.k_target.hessian_product(self._params, vectors) if self._actor.k_target else product
        )


class Adaptation:
    """θ → θ_1 → … → θ_K for all tasks. K = 0 is θ itself.

    Args:
        actor: Actor that evaluates the parameters.
        theta: The common initialisation, shape ``(n_params,)``.
        rates: Step size α of each parameter, shape ``(n_params,)``; 0 for those that do not adapt, which then have no
            derivative in α either.
        tasks: Number of tasks.
        second_order: Whether derivatives see through the steps; otherwise each Jacobian is taken as the identity.

    Attributes:
        params: Parameters θ_0, θ_1, … of all tasks, each of shape ``(tasks, n_params)``.
    """

    def __init__(
        self, actor: StackedActor, theta: torch.Tensor, rates: torch.Tensor, tasks: int, *, second_order: bool
    ) -> None:
        self._actor = actor
        self._rates = rates
        self._adapts = (rates != 0).to(rates.dtype)
        self._second_order = second_order
        self._steps: list[InnerStep] = []
        self.params = [theta.detach().expand(tasks, -1).contiguous()]

    def on_samples(self, data: Sequence[Batch]) -> Adaptation:
        """This very adaptation with the same parameters, its derivatives estimated on samples of its batches."""
        estimate = copy.copy(self)
        estimate._steps = [
            InnerStep(self._actor, params, batch, second_order=self._second_order)
            for params, batch in zip(self.params, data, strict=False)  # one more: the parameters after the last step
        ]
        return estimate

    def step(self, batch: Batch) -> None:
        """One gradient step of every task on its part of the batch."""
        step = InnerStep(self._actor, self.params[-1], batch, second_order=self._second_order)
        self._steps.append(step)
        self.params.append(self.params[-1] - self._rates * step.gradient)

    def pushforward(self, theta_dot: torch.Tensor, rates_dot: torch.Tensor | None = None) -> torch.Tensor:
        """The motion of the adapted parameters when θ moves along ``theta_dot`` and α along ``rates_dot``.

        Args:
            theta_dot: Direction of θ, shape ``(n_params,)``.
            rates_dot: Direction of α, shape ``(n_params,)``; None for 0.

        Returns:
            Shape ``(tasks, n_params)``.
        """
        moved = theta_dot.expand_as(self.params[0])
        for step in self._steps:
            change = self._rates * step.hessian_product(moved.contiguous()) if self._second_order else 0.0
            if rates_dot is not None:
                change = change + self._adapts * rates_dot * step.gradient
            moved = moved - change
        return moved

    def pullback(
        self, cotangents: torch.Tensor, at_steps: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients in θ and α, summed over tasks, of what has gradient ``cotangents`` in the adapted parameters.

        Args:
            cotangents: Gradients in the adapted parameters, shape ``(tasks, n_params)``.
            at_steps: Further gradients of the same shape, in the parameters θ_0 … θ_{K−1} that enter each step.

        Returns:
            Two tensors of shape ``(n_params,)``.
        """
        rates_bar = torch.zeros_like(self._rates)
        for k in range(len(self._steps) - 1, -1, -1):
            step = self._steps[k]
            rates_bar = rates_bar - (step.gradient * cotangents).sum(dim=0)
            if self._second_order:
                cotangents = cotangents - step.hessian_product(self._rates * cotangents)
            if at_steps:
                cotangents = cotangents + at_steps[k]
        return cotangents.sum(dim=0), self._adapts * rates_bar
