from __future__ import annotations

import copy
import math
import pickle
import zipfile
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

import nb_gym  # noqa: F401  (registers NBPendulum-v0)
from nb_agents import Battery
from nb_agents._tensor_file import write_tensors
from nb_agents.recipe.policy import ClampedKGate
from nb_agents.recipe.trainer import LearnedKTarget, NeuralBatteryPolicy, NeuralBatteryTrainer


def batch(n: int = 40, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n, 2))
    return {"states": states, "expert_actions": np.tanh(states[:, :1]), "returns": -np.abs(states).sum(axis=1)}


def parameters(trainer: NeuralBatteryTrainer) -> list[torch.Tensor]:
    held = [*trainer.policy.parameters(), *trainer.regularizer.parameters()]
    return [parameter.detach().clone() for parameter in held]


def equal(x: list[torch.Tensor], y: list[torch.Tensor]) -> bool:
    return all(a.equal(b) for a, b in zip(x, y, strict=True))


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


@pytest.mark.parametrize(
    "change",
    [
        {"states": np.zeros((40, 3))},
        {"states": np.zeros(40)},
        {"states": np.zeros((0, 2)), "expert_actions": np.zeros((0, 1)), "returns": np.zeros(0)},
        {"states": [[0.0, 0.0], [0.0]]},
        {"states": None},
        {"states": np.full((40, 2), np.nan)},
        {"expert_actions": np.zeros((40, 2))},
        {"expert_actions": np.zeros((39, 1))},
        {"expert_actions": np.full((40, 1), np.inf)},
        {"expert_actions": ["left"] * 40},
        {"expert_actions": [["0.5"]] * 40},
        {"expert_actions": np.full((40, 1), 1j)},
        {"states": [torch.zeros(2, requires_grad=True)] * 40},
        {"returns": np.zeros(41)},
        {"returns": np.zeros((40, 2))},
        {"returns": np.full(40, -np.inf)},
        {"returns": np.full(40, 1e300)},
        {"task_difficulty": -0.1},
        {"task_difficulty": 1.1},
        {"task_difficulty": math.nan},
    ],
)
def test_bad_labels_are_refused_by_name_before_anything_moves(change: dict[str, Any]) -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0)
    trainer.train_step(**batch(), task_difficulty=0.5)
    before = parameters(trainer)
    with pytest.raises(ValueError, match=next(iter(change))):
        trainer.train_step(**(batch() | {"task_difficulty": 0.25} | change))
    assert equal(parameters(trainer), before)
    assert trainer.regularizer.task_difficulty == 0.5


def test_a_gradient_that_overflows_moves_nothing() -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0)
    before = parameters(trainer)
    with pytest.raises(RuntimeError, match="non-finite"):
        trainer.train_step(**(batch() | {"returns": np.full(40, 1e30)}))
    assert equal(parameters(trainer), before)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("state_dim", 0, ValueError),
        ("action_dim", 1.5, ValueError),
        ("use_hierarchical", "yes", TypeError),
        ("lr", 0.0, ValueError),
        ("k_lr", -1.0, ValueError),
        ("k_target_weight", math.inf, ValueError),
        ("learn_k_target", 1, TypeError),
        ("value_coef", -1.0, ValueError),
        ("max_grad_norm", "1", TypeError),
        ("updates_per_step", 0, ValueError),
        ("batch_size", True, ValueError),
        ("net_arch", (), ValueError),
        ("net_arch", (64, 0), ValueError),
        ("net_arch", 64, TypeError),
        ("block_size", 0, ValueError),
        ("block_size", None, ValueError),
        ("clamp_gate", None, TypeError),
        ("max_torque", 0.0, ValueError),
    ],
)
def test_bad_settings_are_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        NeuralBatteryTrainer(**({"state_dim": 2, "action_dim": 1} | {name: value}))


def test_a_loaded_trainer_goes_on_to_the_last_bit(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"updates_per_step": 2, "batch_size": 8, "learn_k_target": True, "net_arch": (16, 8)}
    trainer = NeuralBatteryTrainer(2, 1, seed=0, **settings)
    trainer.train_step(**batch())
    trainer.policy.train_only("gates")
    trainer.train_step(**batch())
    trainer.save(tmp_path / "trainer.pt")
    loaded = NeuralBatteryTrainer.load(tmp_path / "trainer.pt")
    for each in (trainer, loaded):
        each.train_step(**batch(seed=1), task_difficulty=0.1)
    assert equal(parameters(trainer), parameters(loaded))
    assert loaded.policy.trains == "gates"


def test_a_loaded_policy_acts_alike(tmp_path: Any) -> None:
    policy = NeuralBatteryPolicy(3, 2, False, max_torque=0.5, clamp_gate=True)
    policy.save(tmp_path / "policy.pt")
    x = torch.randn(4, 3)
    assert NeuralBatteryPolicy.load(tmp_path / "policy.pt")(x).equal(policy(x))


def test_numpy_numbers_as_arguments_survive_the_file(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"k_init": np.float64(0.5), "block_weight": np.float32(0.5), "block_size": np.int64(8)}
    NeuralBatteryPolicy(2, 1, **settings).save(tmp_path / "policy.pt")
    assert NeuralBatteryPolicy.load(tmp_path / "policy.pt").arguments.items() >= settings.items()


@pytest.mark.parametrize("kind", [NeuralBatteryPolicy, NeuralBatteryTrainer])
def test_a_flipped_bit_and_a_missing_end_are_noticed(kind: Any, tmp_path: Any) -> None:
    kind(2, 1, net_arch=(4,), block_size=2).save(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    kind.load(tmp_path / "file")
    rng = np.random.default_rng(0)
    damaged = [whole[: rng.integers(len(whole))] for _ in range(20)] + [whole + b"\0", whole[1:], whole[:-72]]
    for position in (*rng.integers(len(whole), size=40), *range(len(whole) - 72, len(whole), 7)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="is not a whole file of 'nb_agents"):
            kind.load(tmp_path / "file")


@pytest.mark.parametrize(
    "claim",
    [
        {"net_arch": [30_000, 30_000]},
        {"net_arch": [3_000] * 3_000},
        {"state_dim": 10**9},
        {"action_dim": 10**9},
        {"net_arch": [10_000], "block_size": 1},
    ],
)
def test_a_small_file_takes_little_memory(claim: dict[str, Any], tmp_path: Any, monkeypatch: Any) -> None:
    NeuralBatteryPolicy(2, 1, net_arch=(4,)).save(tmp_path / "file")
    content = torch.load(tmp_path / "file", weights_only=True)
    content["arguments"] |= claim
    del content["format"]
    write_tensors(tmp_path / "file", "nb_agents.NeuralBatteryPolicy", **content)
    monkeypatch.setattr(NeuralBatteryPolicy, "__init__", lambda *_, **__: pytest.fail("it is being built"))
    with pytest.raises(ValueError, match=r"does not fit into its \d+ bytes"):
        NeuralBatteryPolicy.load(tmp_path / "file")


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Any, monkeypatch: Any) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10_000))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it is being read"))
    with pytest.raises(ValueError, match=r"its \d+ bytes would unpack to 10000"):
        NeuralBatteryPolicy.load(tmp_path / "file")


class Payload:
    def __reduce__(self) -> Any:
        return pytest.fail, ("the file ran code",)


@pytest.mark.parametrize("kind", [NeuralBatteryPolicy, NeuralBatteryTrainer])
def test_files_that_are_damaged_of_another_kind_or_hostile_are_refused(kind: Any, tmp_path: Any) -> None:
    path, whole_file = tmp_path / "file.pt", tmp_path / "whole.pt"
    made = kind(2, 1)
    if kind is NeuralBatteryTrainer:
        made.train_step(**batch())
    made.save(path)
    made.save(whole_file)
    whole = path.read_bytes()
    other = NeuralBatteryTrainer if kind is NeuralBatteryPolicy else NeuralBatteryPolicy
    with pytest.raises(ValueError, match="format"):
        other.load(path)
    for content in (whole[: len(whole) // 2], b"", b"text", pickle.dumps(Payload())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"file\.pt"):
            kind.load(path)
    torch.save({"format": "x", "payload": Payload()}, path)
    with pytest.raises(ValueError, match=r"file\.pt.*: it holds something other than tensors"):
        kind.load(path)
    path.write_bytes(whole)
    # Of the first format, which has no digest that would tell first.
    content = torch.load(path, weights_only=True) | {"format": f"nb_agents.{kind.__name__} 1"}
    arguments = content["arguments"]
    changes: list[dict[str, Any]] = [
        {"policy": {}},
        {"arguments": {}},
        {"arguments": arguments | {"lr_decay": 1}},
        {"arguments": arguments | {"net_arch": [8]}},
        {"arguments": arguments | {"max_torque": -1.0}},
        {"arguments": arguments | {"k_init": 1e300}},
        {"arguments": arguments | {"state_dim": "2"}},
        {"arguments": arguments | {"net_arch": None}},
        {"arguments": None},
        {"policy": {name: tensor.tolist() for name, tensor in content["policy"].items()}},
        {"policy": {name: tensor.new_zeros(1).expand_as(tensor)[:1] for name, tensor in content["policy"].items()}},
    ]
    if kind is NeuralBatteryTrainer:
        moments = {i: {**s, "exp_avg": torch.zeros(1)} for i, s in content["optimizer"]["state"].items()}
        changes += [{"rng": {}}, {"rng": {"state": torch.zeros(3)}}, {"regularizer": {"target": torch.zeros(2)}}]
        changes += [{"optimizer": content["optimizer"] | {"state": moments}}] if moments else []
    for change in changes:
        torch.save(content | change, path)
        with pytest.raises(ValueError, match=r"file\.pt"):
            kind.load(path)
    torch.save(content, path)
    old, new = (each.policy if kind is NeuralBatteryTrainer else each for each in map(kind.load, (path, whole_file)))
    assert equal(list(old.parameters()), list(new.parameters()))
    with pytest.raises(FileNotFoundError):
        kind.load(tmp_path / "nothing.pt")
