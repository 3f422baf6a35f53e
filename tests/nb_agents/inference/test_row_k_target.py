"""The k-target of computed k's: each row is drawn to the target of its own task, in SB3's own training loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3 import DQN, PPO, SAC, TD3

import nb_agents
from nb_agents import ContextDifficulty, KGatedPolicy, KGatedSACPolicy, SignedKGate
from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.maml.actor import StackedActor
from tests.nb_agents.inference.models import OFF, batch, make_model

ONE_STEP = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, "max_grad_norm": 1e9}
HARD_IS_A = ContextDifficulty(1, easy=-1.0, hard=0.6)


def ppo(weight: float, **kwargs: Any) -> Any:
    sgd = {"optimizer_class": torch.optim.SGD, "k_lr_ratio": 1.0}
    return make_model(PPO, KGatedPolicy, False, ONE_STEP, k_target_weight=weight, **sgd, **kwargs)


def net_of(model: Any) -> ConditionedNet:
    return next(conditioned_nets(model.policy))


@torch.no_grad()
def loss_by_hand(model: Any, observations: torch.Tensor, target: float = 0.3) -> float:
    """Row by row and layer by layer, as the paper prints the term."""
    net = net_of(model)
    taus = [min(max((float(row[net.given][1]) + 1.0) / 1.6, 0.0), 1.0) for row in observations]
    k, start, total = net.k(observations), 0, 0.0
    for gate in net.gates:
        values = gate.phi(k[:, start]).tolist()
        total += sum((value - target * (0.5 + 0.3 * tau)) ** 2 for value, tau in zip(values, taus, strict=True))
        start += len(gate.k)
    return total / len(observations)


@pytest.mark.parametrize("kind", [nb_agents.KGate, SignedKGate, nb_agents.FiLMGate])
def test_sb3s_own_training_moves_f_and_k0_by_the_terms_gradient(kind: Any) -> None:
    """One step of SGD with the term and without: they differ by the rate times its gradient, by finite differences."""
    weight, made = 0.7, []
    for factor in (0.0, weight):
        model = ppo(factor, gate_class=kind, task_difficulty=HARD_IS_A)
        model.learn(64)
        made.append(model)
    without, with_term = (net_of(model) for model in made)
    fresh = ppo(weight, gate_class=kind, task_difficulty=HARD_IS_A)
    assert fresh.lr_schedule(1.0) == 3e-4
    seen = torch.as_tensor(made[1].rollout_buffer.observations).reshape(64, -1)
    net, step = net_of(fresh), 1e-2
    moved = list(zip(net.parameters(), without.parameters(), with_term.parameters(), strict=True))
    names = [name for name, _ in net.named_parameters()]
    rng = np.random.default_rng(0)
    for name, (parameter, a, b) in zip(names, moved, strict=True):
        got = (a - b).detach().flatten() / 3e-4
        if not name.endswith(".k") and "k_net" not in name:
            assert (got == 0.0).all(), f"{name} is not what k is computed from"
            continue
        for i in rng.choice(parameter.numel(), size=min(4, parameter.numel()), replace=False):
            flat = parameter.data.view(-1)
            before, losses = flat[i].item(), []
            for sign in (1.0, -1.0):
                flat[i] = before + sign * step
                losses.append(loss_by_hand(fresh, seen))
            flat[i] = before
            assert got[i].item() == pytest.approx(weight * (losses[0] - losses[1]) / (2 * step), abs=2e-3), (name, i)


def test_the_loss_is_the_mean_over_rows_of_the_papers_term() -> None:
    model = ppo(0.1, task_difficulty=HARD_IS_A)
    net, observations = net_of(model), torch.as_tensor(batch(model), dtype=torch.float32)
    loss = model.policy.regularizer.of_rows(net.gates, net.k(observations), observations[:, net.given])
    assert loss.item() == pytest.approx(loss_by_hand(model, observations), rel=1e-5)
    fixed = ppo(0.1, task_difficulty=0.25)
    loss = fixed.policy.regularizer.of_rows(net.gates, net.k(observations), observations[:, net.given])
    k, level = net.k(observations), 0.3 * (0.5 + 0.3 * 0.25)
    expected = sum((torch.sigmoid(k[:, start]) - level).square() for start in (0, 3)).mean()  # type: ignore[union-attr]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [(SAC, KGatedSACPolicy), (TD3, nb_agents.KGatedTD3Policy), (DQN, nb_agents.KGatedDQNPolicy)],
)
def test_it_is_added_once_in_every_loop(algorithm: Any, policy: Any) -> None:
    """The gradient that is stepped with, less the one of the same training without the term."""
    gradients = []
    for weight in (0.0, 0.5):
        model = make_model(algorithm, policy, False, OFF, k_target_weight=weight, task_difficulty=HARD_IS_A)
        model.learn(9)
        model.train(gradient_steps=2, batch_size=8)  # TD3's actor moves in every second step
        gradients.append(torch.cat([gate.k.grad for gate in net_of(model).gates]))
    assert (gradients[0] - gradients[1]).abs().max() > 0.01
    net = net_of(model)
    k = net.k_sets(torch.tensor([[0.0, 0.0]]))
    bound = 2 * 0.5 * (net.gates[0].phi(k) - 0.3 * 0.5).abs().max() * 0.25
    assert (gradients[0] - gradients[1]).abs().max() < bound * 1.2


def test_nothing_changes_to_the_bit_where_the_weight_is_zero() -> None:
    plain, zero = (
        make_model(PPO, KGatedPolicy, False, ONE_STEP, **kwargs).learn(64)
        for kwargs in ({}, {"task_difficulty": HARD_IS_A})
    )
    for name, value in plain.policy.state_dict().items():
        assert torch.equal(value, zero.policy.state_dict()[name]), name


def bad(given: torch.Tensor) -> torch.Tensor:
    return given


def test_what_is_no_difficulty_is_refused_as_it_is_given() -> None:
    with pytest.raises(
        ValueError, match=r"task_difficulty must give a tensor of shape \(64,\) in \[0, 1\].*got \(64, 2\)"
    ):
        ppo(0.1, task_difficulty=bad).learn(64)
    with pytest.raises(ValueError, match=r"got \(64,\) between"):
        ppo(0.1, task_difficulty=lambda given: given[:, 0]).learn(64)
    with pytest.raises(TypeError, match="task_difficulty must be a number, got <function bad"):
        PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={"task_difficulty": bad})
    with pytest.raises(ValueError, match="task_difficulty must be a number with gate_critic"):
        ppo(0.1, task_difficulty=bad, gate_critic=True)


def test_loops_that_no_gradient_can_join_are_refused() -> None:
    with pytest.raises(ValueError, match="k_target_weight must be 0 with k_from in TRPO"):
        make_model(TRPO, KGatedPolicy, False, {}, k_target_weight=0.1)
    make_model(TRPO, KGatedPolicy, False, {}, task_difficulty=HARD_IS_A)
    with pytest.raises(ValueError, match="k_target_weight must be 0 with k_from in MAML"):
        StackedActor(ppo(0.1, gate_class=SignedKGate).policy)


def test_the_function_is_saved_and_a_fixed_context_has_its_number(tmp_path: Path) -> None:
    model = ppo(0.1, task_difficulty=HARD_IS_A)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pth")
    for loaded in (PPO.load(tmp_path / "model.zip").policy, KGatedPolicy.load(tmp_path / "policy.pth")):
        assert loaded.regularizer.difficulty == HARD_IS_A  # type: ignore[union-attr]
        assert list(net_of(type("M", (), {"policy": loaded})).k_targets) == [loaded.regularizer]
    plain = model.policy.at([0.0, 0.2])
    assert plain.task_difficulty == pytest.approx(0.75)
    assert plain.regularizer.level == pytest.approx(0.3 * (0.5 + 0.3 * 0.75))


@pytest.mark.parametrize("tau", [0.0, 0.75])
def test_a_number_takes_the_place_of_the_function_and_the_other_way_round(tau: float, tmp_path: Path) -> None:
    model = ppo(0.1, task_difficulty=HARD_IS_A)
    net, observations = net_of(model), torch.as_tensor(batch(model), dtype=torch.float32)
    given = observations[:, net.given]
    model.policy.task_difficulty = tau
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pth")
    loaded = PPO.load(tmp_path / "model.zip").policy, KGatedPolicy.load(tmp_path / "policy.pth")
    for policy in (model.policy, *loaded):
        torch.testing.assert_close(policy.regularizer.tau(given), torch.full((6,), tau))
        assert policy.at([0.0, 0.2]).task_difficulty == tau
    model.policy.task_difficulty = HARD_IS_A
    torch.testing.assert_close(model.policy.regularizer.tau(given), HARD_IS_A(given))
    assert model.policy.at([0.0, 0.2]).task_difficulty == pytest.approx(0.75)
    before = model.policy.regularizer.state_dict()
    assert not before, "the function is no number"
    with pytest.raises(ValueError, match=r"task_difficulty must be a number in \[0, 1\], got 2"):
        model.policy.task_difficulty = 2.0
    assert model.policy.regularizer.difficulty == HARD_IS_A, "nothing has changed"
    with pytest.raises(ValueError, match="task_difficulty must be a number with gate_critic"):
        ppo(0.1, gate_critic=True).policy.task_difficulty = HARD_IS_A
    with pytest.raises(TypeError, match="task_difficulty must be a number, got ContextDifficulty"):
        model.policy.at([0.0, 0.2]).task_difficulty = HARD_IS_A
