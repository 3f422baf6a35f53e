"""What `train_only` lets move and what it keeps still, in the algorithms' unmodified training loops."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.utils import polyak_update
from torch import nn

from nb_agents import KGatedCnnPolicy, KGatedPolicy, KGatedSACCnnPolicy, KGatedSACPolicy, KGatedTD3Policy
from nb_agents.contrib import KGatedARSPolicy

LINEAR = ("weight", "bias")
HEADS = {
    "PPO": {"log_std", *(f"action_net.{name}" for name in LINEAR)},
    "A2C": {f"action_net.{name}" for name in LINEAR},
    "SAC": {f"actor.{layer}.{name}" for layer in ("mu", "log_std") for name in LINEAR},
    "TD3": {f"actor.mu.4.{name}" for name in LINEAR},
    "DDPG": {f"actor.mu.4.{name}" for name in LINEAR},
    "DQN": {f"q_net.q_net.4.{name}" for name in LINEAR},
    "TQC": {f"actor.{layer}.{name}" for layer in ("mu", "log_std") for name in LINEAR},
    "CrossQ": {f"actor.{layer}.{name}" for layer in ("mu", "log_std") for name in LINEAR},
    "QRDQN": {f"quantile_net.quantile_net.4.{name}" for name in LINEAR},
    "TRPO": {"log_std", *(f"action_net.{name}" for name in LINEAR)},
    "RecurrentPPO": {"log_std", *(f"action_net.{name}" for name in LINEAR)},
    "MaskablePPO": {f"action_net.{name}" for name in LINEAR},
}
"""What trains with "head", by algorithm: all but ARS, which moves parameters without an optimizer."""

CRITICS = ("critic", "lstm_critic", "mlp_extractor.value_net", "value_net", "_extra_state")


def trained(algorithm: Any, **policy_kwargs: Any) -> Any:
    """A model whose optimizers would move weights by decay and by momentum, if they reached them."""
    kwargs = {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}, **policy_kwargs}
    return algorithm.make(policy_kwargs=kwargs).learn(64)


def snapshot(policy: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.state_dict().items()}


def moved(policy: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in policy.state_dict().items() if not torch.equal(before[name], value)}


def parameter_keys(policy: nn.Module) -> set[str]:
    """The parameters' names in the state dict, where an activation has those of the plain policy."""
    return {name.replace(".activation.", ".") for name, _ in policy.named_parameters()}


def frozen_names(policy: nn.Module) -> list[str]:
    return [
        name
        for name, p in policy.state_dict(keep_vars=True).items()
        if isinstance(p, nn.Parameter) and not p.requires_grad
    ]


def of_actor(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith(CRITICS) and "_target." not in name}


def of_targets(names: set[str]) -> set[str]:
    return {name.replace("_target.", ".") for name in names if "_target." in name and not name.startswith("critic")}


@pytest.mark.parametrize("what", ["gates", "head", "biases"])
def test_only_what_adapts_moves(gradient_algorithm: Any, what: str) -> None:
    model = trained(gradient_algorithm, gate_critic=True)
    policy = model.policy
    gates = {f"{name}.k" for name in policy.gates if not name.startswith(CRITICS)}
    head = HEADS[gradient_algorithm.cls.__name__]
    spread = {name for name in head if "log_std" in name}
    own = {name for name, p in policy.named_parameters() if p.dim() > 1}
    layers = {name.replace(".activation.", ".").rpartition(".")[0] for name in own}
    biases = {name for name in parameter_keys(policy) if name.rpartition(".")[0] in layers and ".bias" in name}
    expected = {"gates": gates, "head": head, "biases": of_actor(biases) | spread}[what]
    policy.train_only(what, reset_optimizer=False)
    before = snapshot(policy)
    model.learn(64, reset_num_timesteps=False)
    now = moved(policy, before)
    assert of_actor(now) == expected
    assert of_targets(now) <= expected, "target networks hold what their source holds"
    critics = {name for name in parameter_keys(policy) if name.startswith(CRITICS)}
    assert critics - now == set(), "critics learn the new task"


def test_everything_moves_again(gradient_algorithm: Any) -> None:
    model = trained(gradient_algorithm)
    model.policy.train_only("head")
    model.policy.train_only("all")
    before = snapshot(model.policy)
    model.learn(64, reset_num_timesteps=False)
    assert {name for name in parameter_keys(model.policy) if "_target." not in name} <= moved(model.policy, before)
    assert all(type(p) is nn.Parameter for p in model.policy.parameters())


def test_saved_and_loaded_with_model_and_policy(gradient_algorithm: Any, tmp_path: Path) -> None:
    model = gradient_algorithm.make()
    model.policy.train_only("gates")
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    loaded = gradient_algorithm.cls.load(tmp_path / "model", env=model.get_env(), device=gradient_algorithm.device)
    for policy in (loaded.policy, gradient_algorithm.policy.load(tmp_path / "policy")):
        assert policy.trains == "gates"
        assert frozen_names(policy) == frozen_names(model.policy) != []
    before = snapshot(loaded.policy)
    loaded.learn(64, reset_num_timesteps=False)
    assert of_actor(moved(loaded.policy, before)) == {
        f"{name}.k" for name in loaded.policy.gates if not name.startswith(CRITICS)
    }


@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "TD3", "DQN"], indirect=True)
@pytest.mark.parametrize("optimizer", [{"momentum": 0.9, "weight_decay": 0.1}, {"momentum": 0.9, "nesterov": True}])
def test_gathered_momentum_reaches_nothing_frozen_in_mid_training(algorithm: Any, optimizer: dict[str, Any]) -> None:
    kwargs = {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": optimizer}
    model = algorithm.make(policy_kwargs=kwargs, learning_rate=1e-4)
    policy, before = model.policy, {}

    def freeze(local: dict[str, Any], _: Any) -> bool:
        if model.num_timesteps == 100:  # between two rollouts' updates
            policy.train_only("gates", reset_optimizer=False)
            before.update(snapshot(policy))
        return True

    model.learn(160, callback=freeze)
    assert of_actor(moved(policy, before)) == {f"{name}.k" for name in policy.gates}


def test_optimizers_start_afresh_unless_asked_otherwise() -> None:
    model = SAC(KGatedSACPolicy, "Pendulum-v1", learning_starts=8, train_freq=4, batch_size=8, seed=0, device="cpu")
    optimizers = (model.policy.actor.optimizer, model.policy.critic.optimizer)
    model.learn(16)
    moments = [len(optimizer.state) for optimizer in optimizers]
    model.policy.train_only("gates", reset_optimizer=False)
    assert [len(optimizer.state) for optimizer in optimizers] == moments
    model.policy.train_only("gates")
    assert [len(optimizer.state) for optimizer in optimizers] == [0, 0]
    model.learn(8, reset_num_timesteps=False)
    assert len(optimizers[0].state) == 2, "the k's of two layers"


@pytest.mark.parametrize("what", ["gates", "head", "all"])
@pytest.mark.parametrize("log_std", [None, True, False])
def test_log_std(what: str, log_std: bool | None) -> None:
    model = PPO(KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")
    model.policy.train_only(what, log_std=log_std)
    before = snapshot(model.policy)
    model.learn(16)
    trains = what != "gates" if log_std is None else log_std
    assert ("log_std" in moved(model.policy, before)) == trains
    copied = KGatedPolicy(**model.policy._get_constructor_parameters())
    copied.load_state_dict(model.policy.state_dict())
    assert copied.log_std.requires_grad == trains


@pytest.mark.parametrize(
    ("algorithm_class", "policy_class"), [(PPO, KGatedCnnPolicy), (SAC, KGatedSACCnnPolicy)], ids=["PPO", "SAC"]
)
@pytest.mark.parametrize("share", [True, False])
def test_an_extractor_shared_with_a_critic_is_the_actors(algorithm_class: Any, policy_class: Any, share: bool) -> None:
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=False)
    settings = {"n_steps": 8} if algorithm_class is PPO else {"learning_starts": 4, "buffer_size": 16}
    kwargs = {"share_features_extractor": share, "net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}}
    model = algorithm_class(policy_class, env, batch_size=4, policy_kwargs=kwargs, device="cpu", seed=0, **settings)
    model.policy.train_only("gates")
    before = snapshot(model.policy)
    actor = model.policy.pi_features_extractor if algorithm_class is PPO else model.policy.actor.features_extractor
    critic = model.policy.vf_features_extractor if algorithm_class is PPO else model.policy.critic.features_extractor
    assert (actor is critic) == share
    model.learn(8)
    now = moved(model.policy, before)
    convolutions = {name for name in now if "cnn" in name and not name.endswith(".k")}
    own = "vf_features_extractor" if algorithm_class is PPO else "critic"
    if share:
        assert convolutions == set(), "the actor sees through it"
    else:
        assert convolutions
        assert all(name.startswith(own) for name in convolutions)
    assert {name for name in now if "cnn" in name and name.endswith(".k")}, "its channels' gates train"


def test_one_gate_per_unit() -> None:
    model = PPO(
        KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, policy_kwargs={"block_size": 1}, seed=0, device="cpu"
    )
    model.policy.train_only("gates")
    assert sum(p.numel() for name, p in model.policy.named_parameters() if name.endswith(".k")) == 2 * (1 + 64)
    start = snapshot(model.policy)
    model.learn(16)
    for name, gate in model.policy.gates.items():
        assert (gate.k != start[f"{name}.k"]).float().mean() > 0.9


def test_held_targets_outlast_polyak_updates() -> None:
    model = TD3(KGatedTD3Policy, "Pendulum-v1", seed=0, device="cpu")
    actor, target = model.policy.actor, model.policy.actor_target
    with torch.no_grad():
        target.mu[0].weight.add_(1.0)  # lags behind its source, as in training
    model.policy.train_only("gates")
    for _ in range(100):
        polyak_update(actor.parameters(), target.parameters(), 0.005)
    assert torch.equal(actor.mu[0].weight, target.mu[0].weight)
    model.policy.train_only("all")
    with torch.no_grad():
        actor.mu[0].weight.add_(1.0)
    polyak_update(actor.parameters(), target.parameters(), 0.5)
    torch.testing.assert_close(actor.mu[0].weight - target.mu[0].weight, torch.full_like(actor.mu[0].weight, 0.5))


@pytest.mark.parametrize("what", ["gates", "head", "biases"])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))], ids=["copy", "pickle"]
)
def test_a_copy_adapts_like_the_original_and_apart_from_it(what: str, copied: Any) -> None:
    policy = TD3(KGatedTD3Policy, "Pendulum-v1", policy_kwargs={"k_target_weight": 0.1}, seed=0, device="cpu").policy
    policy.train_only(what)
    twin = copied(policy)
    before = snapshot(twin)
    for _ in range(10):
        polyak_update(twin.actor.parameters(), twin.actor_target.parameters(), 0.005)
    frozen = {name for name, p in twin.actor.named_parameters() if not p.requires_grad}
    assert not {f"actor_target.{name}" for name in frozen} & moved(twin, before), "its targets are held"
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in policy.parameters()]
    policy.train_only("all")
    assert twin.trains == what
    assert not all(p.requires_grad for p in twin.parameters())
    twin.train_only("all")
    assert all(p.requires_grad for p in twin.parameters())
    for gate in (*policy.gates.values(), *twin.gates.values()):
        gate(torch.zeros(1, gate.n_units)).sum().backward()
        assert gate.k.grad[0] != 0, "the k-target's gradient has outlived freezing, copying and thawing"


def test_what_the_user_froze_stays_frozen() -> None:
    policy = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    policy.action_net.requires_grad_(False)
    policy.train_only("gates")
    policy.train_only("all")
    assert [name for name, p in policy.named_parameters() if not p.requires_grad] == [
        "action_net.weight",
        "action_net.bias",
    ]


class Headless(KGatedPolicy):
    head_part = None


@pytest.mark.parametrize(
    ("policy_class", "what", "kwargs", "error", "message"),
    [
        (KGatedPolicy, "k", {}, ValueError, r"what must be one of .* got 'k'"),
        (KGatedPolicy, None, {}, ValueError, r"what must be one of"),
        (KGatedPolicy, "gates", {"log_std": 1}, TypeError, "log_std must be True, False or None, got 1"),
        (
            KGatedPolicy,
            "gates",
            {"reset_optimizer": "no"},
            TypeError,
            "reset_optimizer must be True or False, got 'no'",
        ),
        (KGatedTD3Policy, "gates", {"log_std": True}, ValueError, r"no log_std"),
        (Headless, "head", {}, ValueError, r"Headless has nothing that train_only\('head'\) could train"),
        (KGatedARSPolicy, "gates", {}, ValueError, r"without an optimizer"),
    ],
)
def test_bad_input_changes_nothing(
    policy_class: Any, what: Any, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    space = PPO("MlpPolicy", "Pendulum-v1", device="cpu").policy
    schedule = {} if policy_class is KGatedARSPolicy else {"lr_schedule": lambda _: 1e-3}
    policy = policy_class(space.observation_space, space.action_space, net_arch=[8], **schedule)
    before = snapshot(policy)
    with pytest.raises(error, match=message):
        policy.train_only(what, **kwargs)
    assert policy.trains == "all"
    assert moved(policy, before) == set()
    assert all(p.requires_grad for name, p in policy.named_parameters() if "_target" not in name)
