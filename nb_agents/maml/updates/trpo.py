"""Trust-region outer update (Schulman et al. 2015, https://arxiv.org/abs/1502.05477), as in the MAML paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from nb_agents._checks import check_count, check_number, check_positive
from nb_agents.maml.actor import StackedActor
from nb_agents.maml.inner import Adaptation, Batch, surrogate
from nb_agents.maml.updates.base import MetaData, MetaParameters, Optimize, Updated, join


@dataclass(frozen=True)
class TRPOUpdate:
    """Natural-gradient step within a trust region over the adapted policies, with a line search.

    Attributes:
        max_kl: Bound δ on the mean KL(old ‖ new) of the adapted policies, > 0.
        cg_steps: Number of steps of the conjugate gradient.
        cg_damping: Number added to the Fisher matrix's diagonal, >= 0.
        line_search_steps: Number of tries of the backtracking line search.
        backtrack: Factor between tries, in (0, 1).
        sub_sampling_factor: Number of samples of which one serves to estimate the Fisher matrix, which only shapes the
            step (TRPO paper, appendix C); the gradient, and loss and KL of the line search, use all.
        min_samples: Least number of samples of a rollout for that estimate, all tasks together, or all of fewer.
    """

    max_kl: float = 0.01
    cg_steps: int = 10
    cg_damping: float = 1e-5
    line_search_steps: int = 15
    backtrack: float = 0.8
    sub_sampling_factor: int = 10
    min_samples: int = 2000
    needs_outer_data: ClassVar[bool] = True
    uses_optimizer: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("cg_steps", "line_search_steps", "sub_sampling_factor", "min_samples"):
            check_count(name, getattr(self, name))
        check_number("cg_damping", self.cg_damping, low=0.0)
        check_positive("max_kl", self.max_kl)
        if not 0.0 < check_number("backtrack", self.backtrack) < 1.0:
            raise ValueError(f"backtrack must be in (0, 1), got {self.backtrack!r}")

    def update(self, data: MetaData, meta: MetaParameters, adaptation: Adaptation, optimize: Optimize) -> Updated:
        """See `OuterUpdate.update`; the policy's optimizer is not used."""
        loss, cotangents = data.outer_gradient(
            adaptation.params[-1], lambda outputs, batch: surrogate(data.actor, outputs, batch)
        )
        gradient = join(meta, adaptation.pullback(cotangents)).double()
        fisher = MetaFisher(data.thin(self.sub_sampling_factor, self.min_samples), meta, self.cg_damping, adaptation)
        direction, residual = conjugate_gradient(fisher.product, gradient, self.cg_steps)
        curvature = torch.dot(direction, gradient - residual)  # xᵀA x without another product
        logs = {"surrogate": loss, "kl": 0.0, "line_search_tries": 0.0}
        if not curvature > 0:
            return meta, logs
        full_step = direction * torch.sqrt(2 * self.max_kl / curvature)
        for tries in range(self.line_search_steps):
            vector = meta.vector.double() - self.backtrack**tries * full_step
            candidate = meta.replace(vector.to(meta.theta.dtype))
            try:
                new_loss, divergence = data.evaluate(data.adapt(candidate, differentiable=False).params[-1])
            except FloatingPointError:  # too far: the likelihood ratios of the inner steps overflow
                continue
            if new_loss < loss and divergence <= self.max_kl:
                return candidate, {"surrogate": new_loss, "kl": divergence, "line_search_tries": tries + 1.0}
        return meta, logs | {"line_search_tries": float(self.line_search_steps)}


class MetaFisher:
    """Products with the Hessian of the adapted policies' mean KL with respect to the meta-parameters.

    At the old parameters the KL's gradient is 0, so this Hessian is exactly ``mean_t J_tᵀ F_t J_t`` with the Jacobian
    J_t of task t's inner loop and the Fisher matrix F_t of its adapted policy.

    Args:
        data: The data to use.
        meta: The old meta-parameters.
        damping: Number added to the diagonal.
        adaptation: Their adaptation, where ``data`` are samples of what it was made on; made on ``data`` by default.
    """

    def __init__(
        self, data: MetaData, meta: MetaParameters, damping: float, adaptation: Adaptation | None = None
    ) -> None:
        self._meta = meta
        self._damping = damping
        self._tasks = data.outer.tasks
        # The policies whose KL counts are those that acted: adapted on all samples, however few estimate J and F.
        self._adaptation = adaptation.on_samples(data.inner) if adaptation else data.adapt(meta, differentiable=True)
        params = self._adaptation.params[-1]
        self._parts = [(tasks, _PolicyFisher(data.actor, params[tasks], batch)) for tasks, batch in data.outer.chunks()]

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Fisher matrix times a vector of the shape of ``meta.vector``, in float64."""
        moved = self._meta.replace(vector.to(self._meta.theta.dtype))
        tangents = self._adaptation.pushforward(moved.theta, moved.rates if moved.learn_rates else None)
        curved = torch.cat([fisher.product(tangents[tasks]) for tasks, fisher in self._parts])
        product = join(self._meta, self._adaptation.pullback(curved / self._tasks))
        return product.double() + self._damping * vector


class _PolicyFisher:
    """Products with each task's own Fisher matrix: J_outputsᵀ (∂²KL/∂outputs²) J_outputs."""

    def __init__(self, actor: StackedActor, params: torch.Tensor, batch: Batch) -> None:
        self._leaf = params.detach().clone().requires_grad_()
        self._outputs = actor.outputs(self._leaf, batch.observations)
        # A product with J is the derivative of u ↦ Jᵀu, which is linear, so any u serves.
        self._dummy = torch.zeros_like(self._outputs, requires_grad=True)
        (self._pulled,) = torch.autograd.grad(self._outputs, self._leaf, self._dummy, create_graph=True)
        self._at = self._outputs.detach().requires_grad_()
        divergence = (batch.weights * actor.kl(self._outputs.detach(), self._at)).sum()
        (self._slope,) = torch.autograd.grad(divergence, self._at, create_graph=True)

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        """Shapes ``(tasks, n_params)``."""
        (tangent,) = torch.autograd.grad(self._pulled, self._dummy, vectors, retain_graph=True)
        (curved,) = torch.autograd.grad(self._slope, self._at, tangent, retain_graph=True)
        return torch.autograd.grad(self._outputs, self._leaf, curved, retain_graph=True)[0]


def conjugate_gradient(
    product: Callable[[torch.Tensor], torch.Tensor], right_side: torch.Tensor, steps: int, tolerance: float = 1e-10
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve ``A x = b`` approximately for a symmetric positive definite A.

    Args:
        product: Function x ↦ A x.
        right_side: Vector b, shape ``(n,)``, which is not changed.
        steps: Largest number of products.
        tolerance: Fraction of ``|b|²`` that the squared residual has to reach.

    Returns:
        x and the residual ``b − A x``.
    """
    x = torch.zeros_like(right_side)
    residual = right_side.clone()
    direction = right_side.clone()
    square = torch.dot(residual, residual)
    enough = tolerance * square
    for _ in range(steps):
        if square <= enough:
            break
        image = product(direction)
        along = torch.dot(direction, image)
        if along <= 0:  # not positive definite to working precision: no further
            break
        length = square / along
        x = x + length * direction
        residual = residual - length * image
        new_square = torch.dot(residual, residual)
        direction = residual + (new_square / square) * direction
        square = new_square
    return x, residual
