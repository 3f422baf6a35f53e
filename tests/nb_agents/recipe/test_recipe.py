"""The paper's recipe: the action, the losses and the steps are its formulas."""

from __future__ import annotations

import copy
import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

import nb_gym  # noqa: F401  (registers NBPendulum-v0)
from nb_agents import Battery
from nb_agents.recipe.policy import ClampedKGate
from nb_agents.recipe.trainer import LearnedKTarget, NeuralBatteryPolicy, NeuralBatteryTrainer
from tests.nb_agents.recipe.labels import batch, equal, parameters


def test_action_is_the_formula() -> None:
    policy = NeuralBatteryPolicy(2, 1, net_arch=(32, 20), max_torque=1.5)
    with torch.no_grad():
        for gate in policy.gates.values():
            gate.k.normal_()
    x = torch.randn(5, 2)
    h = x
    for linear, gate in zip(policy.latent_net[::2], policy.gates.values(), strict=True):
        block = 0.3 * torch.sigmoid(gate.k[1:]).repeat_interleave(16)[: linear.out_features]
        h = torch.relu(linear(h)) * (torch.sigmoid(gate.k[0]) + block)
    torch.testing.assert_close(policy(x), 1.5 * torch.tanh(policy.action_net(h)))


def test_the_value_network_has_no_gates_and_no_part_in_the_action() -> None:
    policy = NeuralBatteryPolicy(2, 1)
    assert not any(name.startswith("value_net") for name in policy.gates)
    x = torch.randn(3, 2)
    before = policy(x)
    torch.nn.init.zeros_(policy.value_net[0].weight)
    assert policy(x).equal(before)


@pytest.mark.parametrize(("hierarchical", "numbers"), [(True, 10), (False, 2)])
def test_nb_has_one_k_per_layer_and_nb_pro_one_per_block_too(hierarchical: bool, numbers: int) -> None:
    trainer = NeuralBatteryTrainer(2, 1, hierarchical)
    assert sum(gate.k.numel() for gate in trainer.policy.gates.values()) == numbers
    assert Battery(trainer.policy).n_k == numbers


def test_losses_are_the_formula_and_the_total_is_a_float() -> None:
    trainer, data = NeuralBatteryTrainer(2, 1, seed=0), batch()
    states = torch.tensor(data["states"], dtype=torch.float32)
    policy = trainer.policy
    action = (policy(states).detach().numpy() - data["expert_actions"]).ravel()
    value = policy.predict_values(states).detach().numpy().ravel() - data["returns"]
    k_target = 2 * (1 / (1 + math.exp(-0.25)) - 0.3 * (0.5 + 0.3 * 0.5)) ** 2
    losses = trainer.train_step(**data, task_difficulty=0.5)
    assert losses.action == pytest.approx((action**2).mean(), rel=1e-5)
    assert losses.value == pytest.approx((value**2).mean(), rel=1e-5)
    assert losses.k_target == pytest.approx(k_target, rel=1e-5)
    assert losses == pytest.approx(losses.action + losses.value + 0.1 * losses.k_target, rel=1e-5)
    assert f"{losses:.4f}" == f"{float(losses):.4f}"  # how the paper's quick start prints it


def test_the_action_loss_sums_over_the_action_dimensions() -> None:
    trainer, data = NeuralBatteryTrainer(2, 3, seed=0), batch()
    data["expert_actions"] = np.random.default_rng(1).normal(size=(40, 3))
    actions, _ = trainer.policy.predict(data["states"])
    distance = np.linalg.norm(actions - data["expert_actions"], axis=1)
    assert trainer.train_step(**data).action == pytest.approx((distance**2).mean(), rel=1e-5)


def test_the_gradient_of_k_holds_the_k_target_loss_once() -> None:
    gradients = []
    for weight in (0.0, 0.1):
        trainer = NeuralBatteryTrainer(2, 1, seed=0, k_target_weight=weight, max_grad_norm=1e9)
        trainer.train_step(**batch(), task_difficulty=0.5)
        gradients.append(torch.stack([gate.k.grad[0] for gate in trainer.policy.gates.values()]))
    sigma = 1 / (1 + math.exp(-0.25))
    expected = 0.1 * 2 * (sigma - 0.3 * (0.5 + 0.3 * 0.5)) * sigma * (1 - sigma)
    assert (gradients[1] - gradients[0]).tolist() == pytest.approx([expected] * 2, rel=1e-3)


def test_losses_and_trainers_can_be_copied() -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0, updates_per_step=2, batch_size=8)
    losses = trainer.train_step(**batch())
    for other in (copy.deepcopy(losses), pickle.loads(pickle.dumps(losses))):
        assert (float(other), vars(other)) == (float(losses), vars(losses))
    twin = copy.deepcopy(trainer)
    before = parameters(trainer)
    twin.train_step(**batch(seed=1))
    assert equal(parameters(trainer), before)
    trainer.train_step(**batch(seed=1))
    assert equal(parameters(trainer), parameters(twin))


def test_one_step_is_adam_on_the_clipped_gradient_with_two_rates() -> None:
    trainer, data = NeuralBatteryTrainer(2, 1, seed=0, lr=1e-3, k_lr=5e-3), batch()
    data["returns"] = 1e3 * data["returns"]  # so that clipping clips
    before = dict(trainer.policy.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in before.items()}
    assert trainer.train_step(**data).grad_norm > 1.0
    norm = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in trainer.policy.parameters()]))
    assert norm == pytest.approx(1.0, rel=1e-4)
    for name, parameter in trainer.policy.named_parameters():
        rate = 5e-3 if name.endswith(".k") else 1e-3
        expected = before[name] - rate * parameter.grad / (parameter.grad.abs() + 1e-8)  # Adam's first step
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-3, atol=1e-7)


def test_training_imitates() -> None:
    trainer, data = NeuralBatteryTrainer(2, 1, seed=0, updates_per_step=100, batch_size=32), batch(400)
    first = trainer.train_step(**data)
    for _ in range(3):
        last = trainer.train_step(**data)
    assert last.action < 0.05 * first.action
    assert last.value < 0.2 * first.value


def test_only_k_and_the_value_network_move_where_only_gates_adapt() -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0)
    trainer.train_step(**batch())
    trainer.policy.train_only("gates")
    before = {name: p.detach().clone() for name, p in trainer.policy.named_parameters()}
    trainer.train_step(**batch(seed=1))
    moved = {name for name, p in trainer.policy.named_parameters() if not p.equal(before[name])}
    assert {name for name in moved if not name.startswith("value_net")} == {"latent_net.1.k", "latent_net.3.k"}


def test_learned_targets_move_towards_the_gates_at_the_rate_of_k() -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0, learn_k_target=True)
    assert isinstance(trainer.regularizer, LearnedKTarget)
    trainer.train_step(**batch(), task_difficulty=1.0)
    moved = trainer.regularizer.target.detach() - 0.3
    assert moved.tolist() == pytest.approx([5e-3, 5e-3], rel=1e-3)  # up, where the gates are


def test_learned_targets_start_as_the_fixed_loss() -> None:
    gates = NeuralBatteryPolicy(2, 1).gates.values()
    learned = LearnedKTarget(2)
    fixed = NeuralBatteryTrainer(2, 1).regularizer
    learned.task_difficulty = fixed.task_difficulty = 0.7
    assert learned(gates).item() == pytest.approx(fixed(gates).item(), rel=1e-6)


def test_clamped_gates_are_the_gates_up_to_one() -> None:
    gate = ClampedKGate(32, gate_max=None, k_init=0.25)
    assert gate.gate().max() < 1.0
    with torch.no_grad():
        gate.k.fill_(0.25)
        gate.k[1] = gate.k[0] = 4.0
    assert gate.gate()[:16].tolist() == [1.0] * 16
    assert type(NeuralBatteryPolicy(2, 1, clamp_gate=True).gates["latent_net.1"]) is ClampedKGate


def test_sb3_evaluates_the_policy() -> None:
    policy = NeuralBatteryTrainer(2, 1, seed=0).policy
    env = gym.make("NBPendulum-v0", episode_steps=50)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="Monitor"):
        mean, _ = evaluate_policy(policy, env, n_eval_episodes=2)
    assert -200.0 < mean < 0.0
    one, _ = policy.predict(np.array([0.1, -0.2]))  # float64, as SB3's own policies accept
    many, _ = policy.predict(np.array([[0.1, -0.2]] * 3, dtype=np.float32))
    assert one.shape == (1,)
    np.testing.assert_allclose(many, [one] * 3, rtol=1e-6)


def test_lists_arrays_and_tensors_train_alike() -> None:
    data = batch()
    kinds = [
        data,
        {name: list(values) for name, values in data.items()},
        {name: torch.tensor(values, requires_grad=True) for name, values in data.items()},
        data | {"expert_actions": data["expert_actions"].ravel(), "returns": data["returns"][:, None]},
    ]
    trained = []
    for kind in kinds:
        trainer = NeuralBatteryTrainer(2, 1, seed=0)
        trainer.train_step(*kind.values(), task_difficulty=0.5)
        trained.append(parameters(trainer))
    assert all(equal(trained[0], other) for other in trained[1:])


def test_a_seed_decides_everything_and_leaves_the_global_generator_alone() -> None:
    trained = []
    state = torch.get_rng_state()
    for _ in range(2):
        trainer = NeuralBatteryTrainer(2, 1, seed=3, updates_per_step=3, batch_size=8)
        trainer.train_step(**batch())
        trained.append(parameters(trainer))
    assert equal(*trained)
    assert torch.get_rng_state().equal(state)
