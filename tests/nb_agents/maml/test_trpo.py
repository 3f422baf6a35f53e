"""The trust-region update and its conjugate gradient."""

from __future__ import annotations

import math

import pytest
import torch

from nb_agents.maml.inner import Adaptation
from nb_agents.maml.updates.base import MetaData, MetaParameters
from nb_agents.maml.updates.trpo import TRPOUpdate, conjugate_gradient
from tests.nb_agents.maml.problems import make_problem


def never(gradient: torch.Tensor) -> MetaParameters:
    raise AssertionError("TRPO takes its own steps")


def test_conjugate_gradient_solves_a_linear_system() -> None:
    """cherry's residual and direction shared one tensor that was updated in place, so that it did not."""
    root = torch.randn(12, 12, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(12, dtype=torch.float64)
    right_side = torch.randn(12, dtype=torch.float64)
    kept = right_side.clone()
    x, residual = conjugate_gradient(lambda v: matrix @ v, right_side, steps=30, tolerance=1e-24)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, right_side))
    assert torch.equal(right_side, kept)
    for steps in (1, 3):
        x, residual = conjugate_gradient(lambda v: matrix @ v, right_side, steps=steps)
        torch.testing.assert_close(residual, right_side - matrix @ x)


@pytest.mark.parametrize("learn_rates", [False, True])
def test_an_update_lowers_the_surrogate_within_the_trust_region(learn_rates: bool) -> None:
    problem = make_problem(2, learn_rates=learn_rates)
    adaptation = _collecting(problem)
    data = problem.data
    before, divergence = data.evaluate(adaptation.params[-1])
    assert divergence == pytest.approx(0.0, abs=1e-12)
    new, logs = TRPOUpdate(sub_sampling_factor=1).update(data, problem.meta, adaptation, never)
    after, divergence = data.evaluate(data.adapt(new, differentiable=False).params[-1])
    assert after < before
    assert 0.001 < divergence <= 0.01
    assert logs["surrogate"] == pytest.approx(after)
    assert logs["kl"] == pytest.approx(divergence)
    assert torch.equal(new.rates, problem.meta.rates) is not learn_rates


def test_a_candidate_whose_adaptation_overflows_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(2)
    adaptation = _collecting(problem)
    tried: list[torch.Tensor] = []
    real = MetaData.adapt

    def overflowing(self: MetaData, meta: MetaParameters, *, differentiable: bool) -> Adaptation:
        if not differentiable:
            tried.append(meta.theta)
            if len(tried) == 1:
                return real(self, meta.replace(meta.vector * torch.nan), differentiable=False)
        return real(self, meta, differentiable=differentiable)

    monkeypatch.setattr(MetaData, "adapt", overflowing)
    new, _ = TRPOUpdate(sub_sampling_factor=1).update(problem.data, problem.meta, adaptation, never)
    assert len(tried) >= 2
    assert torch.equal(new.theta, tried[-1])


def test_without_a_gradient_nothing_moves() -> None:
    problem = make_problem(1)
    adaptation = _collecting(problem)
    problem.data.outer.advantages.zero_()
    new, _ = TRPOUpdate().update(problem.data, problem.meta, adaptation, never)
    assert torch.equal(new.theta, problem.meta.theta)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_kl": 0.0}, "max_kl"),
        ({"max_kl": math.nan}, "max_kl"),
        ({"cg_steps": 0}, "cg_steps"),
        ({"cg_steps": 1.5}, "cg_steps"),
        ({"cg_damping": -1.0}, "cg_damping"),
        ({"line_search_steps": 0}, "line_search_steps"),
        ({"backtrack": 1.0}, "backtrack"),
        ({"sub_sampling_factor": 0}, "sub_sampling_factor"),
        ({"min_samples": 0}, "min_samples"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TRPOUpdate(**settings)  # type: ignore[arg-type]


def test_the_fisher_matrix_takes_one_sample_in_so_many_but_no_fewer_than_asked() -> None:
    data = make_problem(1).data
    tasks, samples = data.outer.weights.shape
    for factor, least, each in ((2, 1, samples // 2), (samples, 3 * tasks, 3), (2, 10**6, samples)):
        thinned = data.thin(factor, least)
        assert thinned.outer.weights.shape == thinned.inner[0].weights.shape == (tasks, each)
    assert data.thin(1, 1) is data


def _collecting(problem) -> Adaptation:  # type: ignore[no-untyped-def]
    """Make the adapted policies the ones that collected the outer data, as in training."""
    adaptation: Adaptation = problem.data.adapt(problem.meta, differentiable=True)
    outer = problem.data.outer
    with torch.no_grad():
        outer.old_outputs.copy_(problem.actor.outputs(adaptation.params[-1], outer.observations))
        outer.old_log_probs.copy_(problem.actor.log_prob(outer.old_outputs, outer.actions))
    return adaptation
