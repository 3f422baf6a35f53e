"""Gates whose k is a function of a part of the observation, in SB3's own loops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from torch import nn

import nb_agents
from nb_agents import ClampedKGate, FiLMGate, FoldError, KGate, KGatedPolicy, contrib, fold_gates
from nb_agents.gates.signed import SignedKGate
from nb_agents.inference.conditioned import ConditionedNet, condition, conditioned_nets
from nb_gym.wrappers import ContextObservation, HistoryObservation
from tests.nb_agents.shared import TwoTorques

RANGES = {"torque_gain": (-1.0, 1.0), "A": (1.0, 1.5)}
SHORT = {"episode_steps": 100, "frame_skip": 20}


def make_env(*, key: bool = False, discrete: bool = False) -> gym.Env[Any, Any]:
    env: Any = gym.make("NBPendulum-v0", torque_gain=(-1.0, 1.0), A=(1.0, 1.5), **SHORT)
    env = TwoTorques(env) if discrete else env
    return ContextObservation(env, RANGES, key="context" if key else None)


ON = {"n_steps": 8}
OFF = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}
CASES: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    (PPO, nb_agents.KGatedPolicy, nb_agents.KGatedMultiInputPolicy, ON | {"batch_size": 8}),
    (A2C, nb_agents.KGatedPolicy, nb_agents.KGatedMultiInputPolicy, ON),
    (SAC, nb_agents.KGatedSACPolicy, nb_agents.KGatedSACMultiInputPolicy, OFF),
    (TD3, nb_agents.KGatedTD3Policy, nb_agents.KGatedTD3MultiInputPolicy, OFF),
    (DDPG, nb_agents.KGatedTD3Policy, nb_agents.KGatedTD3MultiInputPolicy, OFF),
    (DQN, nb_agents.KGatedDQNPolicy, nb_agents.KGatedDQNMultiInputPolicy, OFF),
    (TRPO, contrib.KGatedTRPOPolicy, contrib.KGatedTRPOMultiInputPolicy, ON | {"batch_size": 8}),
    (TQC, contrib.KGatedTQCPolicy, contrib.KGatedTQCMultiInputPolicy, OFF),
    (QRDQN, contrib.KGatedQRDQNPolicy, contrib.KGatedQRDQNMultiInputPolicy, OFF),
    (CrossQ, contrib.KGatedCrossQPolicy, None, OFF),
]
FLAT = [(algorithm, policy, False, settings) for algorithm, policy, _, settings in CASES]
DICT = [(algorithm, policy, True, settings) for algorithm, _, policy, settings in CASES if policy]


def make_model(algorithm: Any, policy: Any, key: bool, settings: dict[str, Any], **policy_kwargs: Any) -> Any:
    env = make_env(key=key, discrete=algorithm in (DQN, QRDQN))
    kwargs = {"k_from": "context", "net_arch": [32, 32], **policy_kwargs}
    return algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **settings)


def batch(model: Any, n: int = 6) -> Any:
    model.observation_space.seed(0)
    samples = [model.observation_space.sample() for _ in range(n)]
    if isinstance(samples[0], dict):
        rows = {name: np.stack([each[name] for each in samples]) for name in samples[0]}
        return {name: np.clip(value, -2, 2) for name, value in rows.items()}
    return np.clip(np.stack(samples), -2, 2)


def with_context(observations: Any, context: Any) -> Any:
    changed = copy.deepcopy(observations)
    if isinstance(changed, dict):
        changed["context"][:] = context
    else:
        changed[:, -2:] = context
    return changed


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT + DICT)
def test_learn_save_load_and_act_by_the_context(
    algorithm: Any, policy: Any, key: bool, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model(algorithm, policy, key, settings)
    observations = batch(model)
    model.learn(24)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pth")
    acted = model.predict(observations, deterministic=True)[0]
    loaded = algorithm.load(tmp_path / "model.zip", device="cpu")
    alone = type(model.policy).load(tmp_path / "policy.pth", device="cpu")
    for other in (loaded, alone):
        np.testing.assert_array_equal(other.predict(observations, deterministic=True)[0], acted)
    (net, *_) = conditioned_nets(model.policy)
    features = torch.zeros(2, len(net.main) + len(net.given))
    features[0, net.given], features[1, net.given] = 1.0, -1.0
    k = net.k(features)
    assert (k[0] - k[1]).abs().min() > 0.0, "every k depends on the context"
    loaded.set_env(model.get_env())
    loaded.learn(16)


@pytest.mark.parametrize(("algorithm", "policy"), [(SAC, nb_agents.KGatedSACPolicy), (TD3, nb_agents.KGatedTD3Policy)])
def test_an_actor_is_saved_and_loaded_by_itself(algorithm: Any, policy: Any, tmp_path: Path) -> None:
    model = make_model(algorithm, policy, False, OFF)
    model.actor.save(tmp_path / "actor.pth")
    loaded = type(model.actor).load(tmp_path / "actor.pth", device="cpu")
    observations = batch(model)
    a, b = (each.predict(observations, deterministic=True)[0] for each in (model.actor, loaded))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("block_size", [None, 16])
@pytest.mark.parametrize("kind", [KGate, SignedKGate, FiLMGate])
def test_a_row_is_what_a_plain_gated_network_with_its_k_gives(kind: Any, block_size: int | None) -> None:
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, gate_class=kind, block_size=block_size)
    net = model.policy.mlp_extractor.policy_net
    features = torch.as_tensor(batch(model), dtype=torch.float32)
    k = net.k(features)
    torch.testing.assert_close(net(features), net.run(features[:, net.main], k), rtol=0.0, atol=0.0)
    sets = 2 if kind is FiLMGate else 1
    assert k.shape == (6, sets * (2 if block_size is None else 6))
    k = k + torch.randn_like(k)
    together = net.run(features[:, net.main], k)
    plain = nn.Sequential(*copy.deepcopy(net.layers))
    gates = [layer for layer in plain if isinstance(layer, KGate)]
    for row in range(6):
        start = 0
        with torch.no_grad():
            for gate in gates:
                gate.k.copy_(k[row, start : start + len(gate.k)])
                start += len(gate.k)
        torch.testing.assert_close(plain(features[row : row + 1, net.main]), together[row : row + 1])


class Waves(KGate):
    """A kind whose phi reads the gate, so that no product does for all."""

    def phi(self, k: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 0.5 * torch.cos(k * self.n_units)


@pytest.mark.parametrize("block_size", [None, 16])
@pytest.mark.parametrize("kind", [KGate, SignedKGate, FiLMGate, ClampedKGate, Waves])
def test_one_product_for_all_gates_is_what_each_makes_of_its_own_k(kind: Any, block_size: int | None) -> None:
    kwargs = {"gate_class": kind, "block_size": block_size, "net_arch": [32, 20]}
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, **kwargs)
    net = model.policy.mlp_extractor.policy_net
    assert (net.spread is None) is (kind in (ClampedKGate, Waves))
    for dtype in (torch.float32, torch.float64):
        net.to(dtype)
        x, k = torch.randn(7, 2, dtype=dtype), torch.randn(7, sum(len(gate.k) for gate in net.gates), dtype=dtype)
        together, net.spread = net.run(x, k), None
        torch.testing.assert_close(together, net.run(x, k))


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT + DICT)
def test_a_policy_at_a_context_acts_and_values_as_the_conditioned_one_does_there(
    algorithm: Any, policy: Any, key: bool, settings: dict[str, Any]
) -> None:
    model = make_model(algorithm, policy, key, settings)
    model.learn(24)
    context = np.float32([0.5, -1.0])
    there = with_context(batch(model), context)
    bare = there["observation"] if key else there[:, :-2]
    plain = model.policy.at(context)
    aliases = algorithm.policy_aliases
    assert type(plain) is (policy if not key else aliases["KGatedPolicy"]), "what is left of a dictionary has no key"
    assert not any(conditioned_nets(plain))
    acted, alone = (each.predict(o, deterministic=True)[0] for each, o in ((model, there), (plain, bare)))
    np.testing.assert_allclose(alone, acted, atol=1e-5)
    if algorithm in (PPO, A2C, TRPO):
        values = [p.predict_values(p.obs_to_tensor(o)[0]) for p, o in ((model.policy, there), (plain, bare))]
        torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    if hasattr(model, "critic"):
        actions = torch.linspace(-1.0, 1.0, 6)[:, None]
        values = [p.critic(p.obs_to_tensor(o)[0], actions)[0] for p, o in ((model.policy, there), (plain, bare))]
        torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    folded = fold_gates(plain)
    np.testing.assert_allclose(folded.predict(bare, deterministic=True)[0], acted, atol=1e-4)
    with pytest.raises(FoldError, match="computed for each row of a batch: fold the policy `at` a context"):
        fold_gates(model.policy)
    with pytest.raises(ValueError, match="context must be 2 finite numbers"):
        model.policy.at([1.0])
    with pytest.raises(ValueError, match="k_from must be a part of the observation, but the policy's k's are"):
        plain.at(context)


def test_shifts_at_a_context_fold_into_the_plain_network() -> None:
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, gate_class=FiLMGate)
    model.learn(24)
    context = np.float32([0.5, -1.0])
    there = with_context(batch(model), context)
    plain = model.policy.at(context)
    assert all(gate.k.chunk(2)[1].ne(0.0).all() for gate in plain.gates.values())
    folded = fold_gates(plain)
    acted = model.predict(there, deterministic=True)[0]
    np.testing.assert_allclose(folded.predict(there[:, :-2], deterministic=True)[0], acted, atol=1e-5)


def test_layers_do_not_see_the_context_and_the_critic_does() -> None:
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, k_net=lambda n, m: nn.Linear(n, m))
    (net,) = conditioned_nets(model.policy)
    with torch.no_grad():
        net.k_net.weight.zero_()
    observations = batch(model)
    here, there = with_context(observations, 1.0), with_context(observations, -1.0)
    a, b = (model.predict(each, deterministic=True)[0] for each in (here, there))
    np.testing.assert_array_equal(a, b)
    values = [model.policy.predict_values(torch.as_tensor(each)) for each in (here, there)]
    assert not torch.equal(*values)


def test_f_keeps_its_own_start_and_its_gradient_is_that_of_the_k_sets() -> None:
    made: list[nn.Module] = []

    def k_net(n_inputs: int, n_outputs: int) -> nn.Module:
        made.append(nn.Linear(n_inputs, n_outputs))
        nn.init.constant_(made[-1].weight, 0.25)
        nn.init.constant_(made[-1].bias, 0.5)
        return made[-1]

    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, k_net=k_net)
    (net,) = conditioned_nets(model.policy)
    assert (net.k_net.weight == 0.25).all(), "SB3's orthogonal initialisation is not f's"
    assert (net.k_net.bias == 0.5).all()
    features = torch.as_tensor(batch(model), dtype=torch.float32)
    k = net.k(features).detach().requires_grad_()
    net.run(features[:, net.main], k).sum().backward()
    rows = k.grad
    assert rows is not None
    net(features).sum().backward()
    torch.testing.assert_close(net.k_net.weight.grad, rows.T @ features[:, net.given])
    torch.testing.assert_close(torch.cat([gate.k.grad for gate in net.gates]), rows.sum(dim=0))


def test_signed_gates_start_at_one_and_can_turn_a_unit_around() -> None:
    gate = SignedKGate(32)
    torch.testing.assert_close(gate.gate(), torch.ones(32))
    torch.testing.assert_close(gate.gate(-gate.k), -torch.ones(32))
    torch.testing.assert_close(
        gate.rows(torch.stack([gate.k, -gate.k])), torch.ones(2, 32) * torch.tensor([[1.0], [-1.0]])
    )


def test_signed_gates_learn_to_act_by_the_sign_of_the_actuator() -> None:
    """Two numbers, on three seeds: at either sign the return is far above that of no torque, −2,368."""
    for seed in (0, 1, 2):
        model = _train_on_both_signs(seed)
        for gain in (1.0, -1.0):
            assert _mean_return(model, gain) > -60.0, (seed, gain)


def _sign_env(num_envs: int, gain: Any, mode: str) -> Any:
    from nb_gym.wrappers import vector

    observe = ("theta", "theta_dot", "sin_drive", "cos_drive")
    env = gym.make_vec(
        "NBPendulum-v0", num_envs=num_envs, torque_gain=gain, observe=observe, frame_skip=20, autoreset_mode=mode
    )
    scale = np.float32([0.3, 1.0, 1.0, 1.0])
    space = gym.spaces.Box(-10.0, 10.0, (4,), np.float32)
    env = gym.wrappers.vector.TransformObservation(
        env, lambda o: np.clip(o / scale, -10, 10), single_observation_space=space
    )
    return vector.ContextObservation(env, {"torque_gain": (-1.0, 1.0)})


def _train_on_both_signs(seed: int) -> Any:
    from stable_baselines3.common.vec_env import VecNormalize

    from nb_agents import VectorEnvAdapter

    signs = np.resize([1.0, -1.0], 8)
    env = VecNormalize(VectorEnvAdapter(_sign_env(8, signs, "NextStep")), norm_obs=False, gamma=0.8)
    kwargs = {"k_from": "context", "gate_class": SignedKGate, "block_size": None}
    settings = {"n_steps": 50, "batch_size": 200, "n_epochs": 20, "learning_rate": 1.1e-3, "gamma": 0.8}
    model = PPO(KGatedPolicy, env, policy_kwargs=kwargs, gae_lambda=0.8, seed=seed, device="cpu", **settings)
    return model.learn(24_000)


def _mean_return(model: Any, gain: float) -> float:
    env = _sign_env(16, gain, "Disabled")
    observation, _ = env.reset(seed=7)
    total, over = np.zeros(16), False
    while not over:
        observation, reward, _, truncated, _ = env.step(model.predict(observation, deterministic=True)[0])
        total, over = total + reward, bool(truncated.all())
    return float(total.mean())


@pytest.mark.parametrize(
    ("env", "kwargs", "error", "message"),
    [
        ("bare", {}, ValueError, "k_from needs an observation with named parts"),
        (
            "context",
            {"k_from": "history"},
            ValueError,
            r"k_from must be one of several parts .*'context'\]; got 'history'",
        ),
        (
            "context",
            {"k_from": ""},
            ValueError,
            "k_from must be the name of a part of the observation, or None, got ''",
        ),
        ("context", {"k_from": 5}, TypeError, "k_from must be the name of a part of the observation, or None, got 5"),
        ("context", {"k_from": ()}, ValueError, r"k_net must be a function where k_from is \(\), .* got \(32,\)"),
        ("context", {"k_net": lambda n, m: nn.Linear(n, 1)}, ValueError, r"gives \(batch, 10\) .*, got \(2, 1\) for a"),
        (
            "context",
            {"k_net": lambda n, m: nn.Linear(n + 1, m)},
            ValueError,
            "for a batch of 2 it fails: mat1 and mat2",
        ),
        (
            "context",
            {"k_net": lambda n, m: torch.zeros(m)},
            TypeError,
            r"k_net must make a torch\.nn\.Module, got tensor",
        ),
        ("context", {"k_net": "linear"}, TypeError, "k_net must be hidden units layer by layer, .* got 'linear'"),
        ("context", {"k_net": (8, 0)}, ValueError, "k_net must have at least 1 unit in each layer"),
        ("context", {"net_arch": []}, ValueError, "k_from needs gated layers, the first one linear"),
    ],
)
def test_bad_arguments(env: str, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    made = make_env() if env == "context" else gym.make("NBPendulum-v0")
    with pytest.raises(error, match=message):
        PPO(KGatedPolicy, made, policy_kwargs={"k_from": "context", **kwargs})


def test_asking_f_for_its_width_draws_no_random_numbers_and_leaves_it_as_it_is() -> None:
    made: list[Any] = []

    def k_net(n_inputs: int, n_outputs: int) -> nn.Module:
        made.append(nn.Sequential(nn.BatchNorm1d(n_inputs), nn.Dropout(), nn.Linear(n_inputs, n_outputs)))
        made.append(torch.get_rng_state())
        return made[0]

    torch.manual_seed(3)
    condition(nn.Sequential(nn.Linear(6, 8), KGate(8)), {"a": slice(0, 4), "b": slice(4, 6)}, "b", k_net)
    assert torch.equal(torch.get_rng_state(), made[1])
    assert made[0][0].num_batches_tracked == 0
    assert made[0].training


def test_an_algorithm_in_which_no_k_is_computed_refuses_a_part_to_compute_it_from() -> None:
    for algorithm, name in ((ARS, "a KGatedARSPolicy"), (RecurrentPPO, "RecurrentPPO")):
        with pytest.raises(ValueError, match=rf"k_from must be None in {name}, whose .*; got 'context'"):
            algorithm("KGatedPolicy", make_env(), policy_kwargs={"k_from": "context"})


def test_the_history_can_be_what_the_ks_come_from() -> None:
    model = PPO(
        KGatedPolicy, HistoryObservation(make_env(), 4), policy_kwargs={"k_from": "history"}, n_steps=8, batch_size=8
    )
    (net,) = conditioned_nets(model.policy)
    assert isinstance(net, ConditionedNet)
    assert (len(net.main), len(net.given)) == (4, 4 * 6)
    model.learn(8)
