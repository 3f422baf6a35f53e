"""The meta-gradient and its relatives against finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch.distributions import Normal

from nb_agents import KGatedPolicy
from nb_agents.maml import actor, inner
from nb_agents.maml.inner import Batch, InnerStep, surrogate
from nb_agents.maml.updates.base import MetaData, join, loss_gradient
from nb_agents.maml.updates.ppo_clip import PPOClipUpdate
from nb_agents.maml.updates.reptile import ReptileUpdate
from nb_agents.maml.updates.trpo import MetaFisher
from tests.nb_agents.maml.problems import Problem, make_actor, make_problem

SPACES = {
    "box": spaces.Box(-1, 1, (2,)),
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(2),
}


def finite_differences(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Central differences of f along every coordinate of x; one row each."""
    steps = eps * torch.eye(x.numel(), dtype=x.dtype)
    return torch.stack([(f(x + step) - f(x - step)) / (2 * eps) for step in steps])


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def objective(problem: Problem, vector: torch.Tensor) -> torch.Tensor:
    """Mean over tasks of the outer surrogate after adapting, as plain function values."""
    adaptation = problem.data.adapt(problem.meta.replace(vector), differentiable=False)
    return torch.tensor(problem.data.evaluate(adaptation.params[-1])[0], dtype=torch.float64)


def meta_gradient(problem: Problem, vector: torch.Tensor | None = None) -> torch.Tensor:
    meta = problem.meta if vector is None else problem.meta.replace(vector)
    adaptation = problem.data.adapt(meta, differentiable=True)
    _, cotangents = problem.data.outer_gradient(adaptation.params[-1], lambda o, b: surrogate(problem.actor, o, b))
    return join(meta, adaptation.pullback(cotangents))


def test_the_surrogate_is_the_ratio_and_so_are_its_derivatives() -> None:
    """Where θ collected the data, log π has the ratio's first derivative but not its second."""
    problem = make_problem(1)
    model, batch = problem.actor, problem.data.inner[0]
    theta = problem.meta.theta.expand(3, -1).clone().requires_grad_()
    outputs = model.outputs(theta, batch.observations)
    log_probs = Normal(outputs[..., :2], outputs[..., 2:].exp()).log_prob(batch.actions).sum(dim=-1)
    weighted = batch.weights * batch.advantages
    explicit = -(weighted * (log_probs - batch.old_log_probs).exp()).sum(dim=1)
    torch.testing.assert_close(surrogate(model, outputs, batch), explicit)
    (expected,) = torch.autograd.grad(explicit.sum(), theta)
    gradient = InnerStep(model, theta.detach(), batch, second_order=False).gradient
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("learn_rates", [False, True])
@pytest.mark.parametrize("inner_steps", [0, 1, 5])
def test_meta_gradient_is_that_of_finite_differences(inner_steps: int, learn_rates: bool) -> None:
    problem = make_problem(inner_steps, learn_rates=learn_rates)
    expected = finite_differences(lambda x: objective(problem, x), problem.meta.vector)
    assert relative_error(meta_gradient(problem), expected) < 1e-8


@pytest.mark.parametrize("space", SPACES)
def test_every_action_distribution_has_the_right_meta_gradient(space: str) -> None:
    problem = make_problem(2, actor=make_actor(SPACES[space]))
    expected = finite_differences(lambda x: objective(problem, x), problem.meta.vector)
    assert relative_error(meta_gradient(problem), expected) < 1e-8


@pytest.mark.parametrize("inner_steps", [1, 5])
def test_first_order_differs_and_is_the_gradient_at_the_adapted_parameters(inner_steps: int) -> None:
    problem = make_problem(inner_steps, second_order=False)
    first = meta_gradient(problem)
    adapted = problem.data.adapt(problem.meta, differentiable=False).params[-1]

    def shifted(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(problem.data.evaluate(adapted + x)[0], dtype=torch.float64)

    assert relative_error(first, finite_differences(shifted, torch.zeros_like(problem.meta.theta))) < 1e-8
    torch.manual_seed(0)
    assert relative_error(first, meta_gradient(make_problem(inner_steps))) > 0.05


K_TARGET = {"block_size": 2, "k_target_weight": 0.7, "k_target": 0.9, "task_difficulty": 0.5}


def k_target_loss(problem: Problem, params: torch.Tensor) -> torch.Tensor:
    """The mean over tasks of the weighted loss, as the policy's own regulariser computes it."""
    policy: Any = problem.actor.policy
    losses = []
    for vector in params:
        problem.actor.set_vector(vector)
        losses.append(policy.regularizer.weight * policy.regularizer(policy.gates.values()).detach())
    return torch.stack(losses).mean()


def test_the_k_target_is_part_of_the_outer_loss() -> None:
    problem = make_problem(0, actor=make_actor(policy_class=KGatedPolicy, **K_TARGET))
    without = Problem(copy.copy(problem.actor), problem.data, problem.meta)
    without.actor.k_target = None
    params = problem.meta.theta + 0.3 * torch.randn(3, problem.actor.n_params, dtype=torch.float64)
    plain = MetaData(without.actor, problem.data.inner, problem.data.outer).evaluate(params)
    with_it = problem.data.evaluate(params)
    assert with_it[0] - plain[0] == pytest.approx(k_target_loss(problem, params).item(), rel=1e-10)
    assert with_it[1] == plain[1], "it is no part of the KL divergence"


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_k_target_moves_the_inner_steps(inner_steps: int) -> None:
    """What it adds to the inner steps is the gradient of its loss, by finite differences."""
    problem = make_problem(inner_steps, actor=make_actor(policy_class=KGatedPolicy, **K_TARGET))
    params = problem.data.adapt(problem.meta, differentiable=False).params
    for k, batch in enumerate(problem.data.inner):
        gradient = InnerStep(problem.actor, params[k], batch, second_order=False).gradient
        problem.actor.k_target, term = None, problem.actor.k_target
        plain = InnerStep(problem.actor, params[k], batch, second_order=False).gradient
        problem.actor.k_target = term
        for task in range(len(plain)):
            expected = finite_differences(lambda x: k_target_loss(problem, x[None]), params[k][task])
            torch.testing.assert_close(gradient[task] - plain[task], expected, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(params[k + 1], params[k] - problem.meta.rates * gradient)


@pytest.mark.parametrize("learn_rates", [False, True])
@pytest.mark.parametrize("inner_steps", [0, 1, 4])
def test_meta_gradient_with_the_k_target_is_that_of_finite_differences(inner_steps: int, learn_rates: bool) -> None:
    actor = make_actor(policy_class=KGatedPolicy, **K_TARGET)
    problem = make_problem(inner_steps, learn_rates=learn_rates, actor=actor)
    expected = finite_differences(lambda x: objective(problem, x), problem.meta.vector)
    assert relative_error(meta_gradient(problem), expected) < 1e-8
    actor.k_target = None
    assert relative_error(meta_gradient(problem), expected) > 1e-3


def test_a_k_target_without_weight_changes_no_bit() -> None:
    weightless = make_actor(policy_class=KGatedPolicy, **K_TARGET | {"k_target_weight": 0.0})
    assert not weightless.k_target
    problem = make_problem(2, actor=weightless)
    expected = meta_gradient(problem)
    weightless.k_target = None
    assert torch.equal(meta_gradient(problem), expected)


def test_graphs_that_are_not_kept_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(3)
    expected = meta_gradient(problem)
    monkeypatch.setattr(inner, "_KEPT_ROWS", 0)
    monkeypatch.setattr(actor, "_CHUNK_ROWS", 1)
    torch.testing.assert_close(meta_gradient(problem), expected)


def test_no_inner_step_is_the_policy_itself() -> None:
    problem = make_problem(0)
    adaptation = problem.data.adapt(problem.meta, differentiable=True)
    assert len(adaptation.params) == 1
    assert torch.equal(adaptation.params[0], problem.meta.theta.expand_as(adaptation.params[0]))


def test_every_inner_steps_data_enter_the_meta_gradient() -> None:
    """garage #1269 cleared the gradients after the first of several inner steps."""
    problem = make_problem(3)
    gradient = meta_gradient(problem)
    for k in range(3):
        inner = list(problem.data.inner)
        inner[k] = Batch(**{**vars(inner[k]), "advantages": inner[k].advantages.flip(1)})
        changed = Problem(
            problem.actor, type(problem.data)(problem.actor, tuple(inner), problem.data.outer), problem.meta
        )
        assert relative_error(meta_gradient(changed), gradient) > 1e-3


@pytest.mark.parametrize("learn_rates", [False, True])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_fisher_product_is_the_hessian_of_the_adapted_policies_kl(inner_steps: int, learn_rates: bool) -> None:
    problem = make_problem(inner_steps, learn_rates=learn_rates)
    adapted = problem.data.adapt(problem.meta, differentiable=False).params[-1]
    outer = problem.data.outer
    old = problem.actor.outputs(adapted, outer.observations).detach()
    outer = Batch(**{**vars(outer), "old_outputs": old})
    data = type(problem.data)(problem.actor, problem.data.inner, outer)

    def kl_gradient(vector: torch.Tensor) -> torch.Tensor:
        meta = problem.meta.replace(vector)
        adaptation = data.adapt(meta, differentiable=True)
        _, cotangents = loss_gradient(
            problem.actor,
            adaptation.params[-1],
            outer,
            lambda outputs, batch: (batch.weights * problem.actor.kl(batch.old_outputs, outputs)).sum(dim=1),
        )
        return join(meta, adaptation.pullback(cotangents))

    hessian = finite_differences(kl_gradient, problem.meta.vector)
    fisher = MetaFisher(data, problem.meta, damping=0.0)
    products = torch.stack([fisher.product(e) for e in torch.eye(problem.meta.vector.numel(), dtype=torch.float64)])
    assert relative_error(products, hessian) < 1e-7


def test_samples_estimate_the_fisher_matrix_of_the_policies_that_acted() -> None:
    """Adapted on the samples alone, the policies would be others: their KL is not the one that is bounded."""
    problem = make_problem(2, second_order=False)  # so that the inner data enter through the adapted parameters only
    adaptation = problem.data.adapt(problem.meta, differentiable=True)
    vector = torch.randn_like(problem.meta.theta)
    exact = MetaFisher(problem.data, problem.meta, 0.0).product(vector)
    few = MetaData(problem.actor, tuple(batch.thin(3) for batch in problem.data.inner), problem.data.outer, False)
    torch.testing.assert_close(MetaFisher(few, problem.meta, 0.0, adaptation).product(vector), exact)
    assert relative_error(MetaFisher(few, problem.meta, 0.0).product(vector), exact) > 1e-3


def test_on_all_samples_the_derivatives_are_the_adaptations_own() -> None:
    problem = make_problem(2, learn_rates=True)
    adaptation = problem.data.adapt(problem.meta, differentiable=True)
    again = adaptation.on_samples(problem.data.inner)
    cotangents = torch.randn_like(adaptation.params[-1])
    for ours, theirs in zip(again.pullback(cotangents), adaptation.pullback(cotangents), strict=True):
        torch.testing.assert_close(ours, theirs)
    tangents = torch.randn(2, *problem.meta.theta.shape, dtype=torch.float64)
    torch.testing.assert_close(again.pushforward(*tangents), adaptation.pushforward(*tangents))


def test_a_parameter_that_does_not_adapt_learns_no_rate() -> None:
    """Otherwise Meta-SGD with ANIL would let the body adapt from the second meta-iteration on."""
    problem = make_problem(2, learn_rates=True)
    problem.meta.rates[::2] = 0.0
    expected = finite_differences(lambda x: objective(problem, x), problem.meta.vector)
    expected.chunk(2)[1][::2] = 0.0
    assert relative_error(meta_gradient(problem), expected) < 1e-8
    product = MetaFisher(problem.data, problem.meta, 0.0).product(torch.ones_like(problem.meta.vector))
    assert not product.chunk(2)[1][::2].any()
    only_fixed = torch.zeros_like(problem.meta.vector)
    only_fixed.chunk(2)[1][::2] = 1.0
    assert not MetaFisher(problem.data, problem.meta, 0.0).product(only_fixed).any()


def test_reptile_moves_a_fraction_of_the_way_to_the_adapted_parameters() -> None:
    problem = make_problem(2, second_order=False)
    adaptation = problem.data.adapt(problem.meta, differentiable=False)
    for size in (0.25, 1.0):
        new, _ = ReptileUpdate(step_size=size).update(problem.data, problem.meta, adaptation, lambda _: problem.meta)
        expected = (1 - size) * problem.meta.theta + size * adaptation.params[2].mean(dim=0)
        torch.testing.assert_close(new.theta, expected)
    assert torch.equal(new.rates, problem.meta.rates)


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_clipped_objective_with_inner_kl_has_the_right_gradient(inner_steps: int) -> None:
    problem = make_problem(inner_steps)
    update = PPOClipUpdate(n_epochs=1, clip_range=0.1, inner_kl_weight=0.7)
    steps: list[torch.Tensor] = []

    def optimize(gradient: torch.Tensor):  # type: ignore[no-untyped-def]
        steps.append(gradient)
        return problem.meta

    update.update(problem.data, problem.meta, problem.data.adapt(problem.meta, differentiable=True), optimize)

    def value(vector: torch.Tensor) -> torch.Tensor:
        actor, data = problem.actor, problem.data
        adaptation = data.adapt(problem.meta.replace(vector), differentiable=False)
        outputs = actor.outputs(adaptation.params[-1], data.outer.observations)
        ratio = torch.exp(actor.log_prob(outputs, data.outer.actions) - data.outer.old_log_probs)
        clipped = torch.minimum(ratio * data.outer.advantages, ratio.clamp(0.9, 1.1) * data.outer.advantages)
        loss = -(data.outer.weights * clipped).sum()
        for params, batch in zip(adaptation.params, data.inner, strict=False):
            moved = actor.kl(batch.old_outputs, actor.outputs(params, batch.observations))
            loss = loss + 0.7 / inner_steps * (batch.weights * moved).sum()
        return loss.detach() / data.outer.tasks

    expected = finite_differences(value, problem.meta.vector)
    assert relative_error(steps[0], expected) < 1e-7
