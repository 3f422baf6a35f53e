"""Gates for trained SB3 models, and SB3's plain classes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

import nb_agents
from nb_agents.battery.per_row import gates_per_row
from nb_agents.gates.gate import named_gates
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.usage import plain_class
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.retrofit import retrofit
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.shared import WithSkip

ON_POLICY = {"n_steps": 32}
PPO_SETTINGS = {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
OFF_POLICY = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 8, "gradient_steps": 2}


class Vectors(gym.Env[Any, Any]):
    """Three numbers and an image, keys such that the image's features lie between two vectors'."""

    observation_space = spaces.Dict(
        {"a": spaces.Box(-1, 1, (2,)), "img": spaces.Box(0, 255, (36, 36, 1), np.uint8), "z": spaces.Discrete(3)}
    )
    action_space = spaces.Box(-2, 2, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), float(action[0]), False, bool(self.np_random.random() < 0.1), {}


@dataclass(frozen=True)
class Case:
    cls: type[BaseAlgorithm]
    env: Any
    settings: dict[str, Any]
    gated: type[KGatedMixin]
    policy: str = "MlpPolicy"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)

    def train(self) -> Any:
        env = self.env() if callable(self.env) else self.env
        kwargs = {"net_arch": [20, 20]} | self.policy_kwargs
        model = self.cls(self.policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **self.settings)
        return model.learn(48)


def image_env() -> gym.Env[Any, Any]:
    return FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=False)


SDE = {"use_expln": True, "full_std": False}
CASES = {
    "PPO": Case(PPO, "Pendulum-v1", PPO_SETTINGS, nb_agents.KGatedPolicy, policy_kwargs={"activation_fn": nn.PReLU}),
    "PPO-gSDE": Case(PPO, "Pendulum-v1", PPO_SETTINGS | {"use_sde": True}, nb_agents.KGatedPolicy),
    "A2C-gSDE": Case(A2C, "Pendulum-v1", ON_POLICY | {"use_sde": True}, nb_agents.KGatedPolicy, policy_kwargs=SDE),
    "A2C": Case(A2C, "CartPole-v1", ON_POLICY, nb_agents.KGatedPolicy),
    "PPO-Cnn": Case(PPO, image_env, PPO_SETTINGS, nb_agents.KGatedCnnPolicy, "CnnPolicy"),
    "PPO-Dict": Case(PPO, Vectors, PPO_SETTINGS, nb_agents.KGatedMultiInputPolicy, "MultiInputPolicy"),
    "SAC": Case(SAC, "Pendulum-v1", OFF_POLICY, nb_agents.KGatedSACPolicy),
    "SAC-gSDE": Case(SAC, "Pendulum-v1", OFF_POLICY | {"use_sde": True}, nb_agents.KGatedSACPolicy),
    "SAC-Cnn": Case(
        SAC, image_env, OFF_POLICY, nb_agents.KGatedSACCnnPolicy, "CnnPolicy", {"share_features_extractor": True}
    ),
    "SAC-Dict": Case(SAC, Vectors, OFF_POLICY, nb_agents.KGatedSACMultiInputPolicy, "MultiInputPolicy"),
    "TD3": Case(TD3, "Pendulum-v1", OFF_POLICY, nb_agents.KGatedTD3Policy),
    "DDPG": Case(DDPG, "Pendulum-v1", OFF_POLICY, nb_agents.KGatedTD3Policy),
    "DQN": Case(DQN, "CartPole-v1", OFF_POLICY, nb_agents.KGatedDQNPolicy),
    "DQN-Dict": Case(DQN, SimpleMultiObsEnv, OFF_POLICY, nb_agents.KGatedDQNMultiInputPolicy, "MultiInputPolicy"),
}


def test_models_of_every_algorithm_are_retrofitted_trained_and_folded(algorithm: Any) -> None:
    """sb3-contrib's too: it is the registry of `nb_agents.policies.usage` that knows the classes."""
    plain = algorithm.make(policy=plain_class(algorithm.policy)).learn(32)
    gated = retrofit(plain)
    assert type(gated.policy) is algorithm.policy
    assert np.array_equal(actions(gated), actions(plain))
    folded = fold_gates(gated.learn(32))
    assert type(folded.policy) is type(plain.policy)


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CASES[request.param]


def observations(model: Any) -> Any:
    model.observation_space.seed(1)
    samples = [model.observation_space.sample() for _ in range(9)]
    if isinstance(samples[0], dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    return np.stack(samples).clip(-3, 255)


def actions(model: Any, deterministic: bool = True) -> np.ndarray:
    torch.manual_seed(7)
    policy = getattr(model, "policy", model)
    if (
        not deterministic
        and hasattr(policy, "reset_noise")
        and getattr(getattr(policy, "actor", policy), "use_sde", False)
    ):
        policy.reset_noise()
    return policy.predict(observations(policy), deterministic=deterministic)[0]


def values(model: Any, network: str) -> list[torch.Tensor]:
    """What a (target) critic says."""
    policy = model.policy
    obs = policy.obs_to_tensor(observations(model))[0]
    with torch.no_grad():
        if network == "value":
            return [policy.predict_values(obs)]
        if network.startswith("q_net"):
            return [getattr(policy, network)(obs)]
        return list(getattr(policy, network)(obs, torch.full((9, *model.action_space.shape), 0.3)))


def critics(model: Any) -> list[str]:
    if isinstance(model, DQN):
        return ["q_net", "q_net_target"]
    return ["value"] if isinstance(model.policy, ActorCriticPolicy) else ["critic", "critic_target"]


@pytest.mark.parametrize("gate_critic", [False, True])
def test_retrofitted_model_is_the_same_model(case: Case, gate_critic: bool, tmp_path: Path) -> None:
    model = case.train()
    state = {key: value.clone() for key, value in model.policy.state_dict().items() if torch.is_tensor(value)}
    generator = torch.get_rng_state()
    new = retrofit(model, block_size=8, gate_critic=gate_critic)

    assert type(new) is case.cls
    assert type(new.policy) is new.policy_class is case.gated
    assert torch.equal(torch.get_rng_state(), generator), "no random number was drawn"
    assert all(torch.equal(model.policy.state_dict()[key], value) for key, value in state.items())
    assert all(gate.gate().eq(1).all() for _, gate in named_gates(new.policy))
    assert np.array_equal(actions(new), actions(model))
    np.testing.assert_allclose(actions(new, deterministic=False), actions(model, deterministic=False), atol=1e-5)
    for network in critics(model):
        for a, b in zip(values(new, network), values(model, network), strict=True):
            assert torch.equal(a, b), network
    if hasattr(model.policy, "actor_target"):
        obs = model.policy.obs_to_tensor(observations(model))[0]
        assert torch.equal(new.policy.actor_target(obs), model.policy.actor_target(obs))

    assert new.num_timesteps == model.num_timesteps
    assert new._n_updates == model._n_updates
    assert new.get_env() is model.get_env()
    assert new.seed == model.seed
    assert new.lr_schedule(0.5) == model.lr_schedule(0.5)
    if isinstance(model, (SAC, TD3, DQN)):
        assert new.replay_buffer is model.replay_buffer

    new.save(tmp_path / "model")
    loaded = case.cls.load(tmp_path / "model", env=model.get_env(), device="cpu")
    assert np.array_equal(actions(loaded), actions(model))
    before = {name: gate.k.detach().clone() for name, gate in loaded.policy.gates.items()}
    loaded.learn(48, reset_num_timesteps=False)
    assert loaded.num_timesteps > model.num_timesteps
    assert all(not torch.equal(before[name], gate.k) for name, gate in loaded.policy.gates.items())


def test_folded_model_is_the_plain_model(case: Case, tmp_path: Path) -> None:
    model = case.train()
    gated = retrofit(model, gate_critic=True)
    with torch.no_grad():
        for _, gate in named_gates(gated.policy):
            gate.k.normal_()
    folded, policy = fold_gates(gated), fold_gates(gated.policy)
    for result in (folded.policy, policy):
        assert type(result) is type(model.policy)
        assert result.state_dict().keys() == model.policy.state_dict().keys()
        assert result._get_constructor_parameters().keys() == model.policy._get_constructor_parameters().keys()
        np.testing.assert_allclose(actions(result), actions(gated), atol=2e-5)
        np.testing.assert_allclose(actions(result, False), actions(gated, False), atol=2e-5)
    assert not np.allclose(actions(folded), actions(model)) or actions(model).dtype != np.float32
    for network in critics(model):
        for a, b in zip(values(folded, network), values(gated, network), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert folded.policy_kwargs == model.policy_kwargs
    folded.save(tmp_path / "model")
    loaded = case.cls.load(tmp_path / "model", env=model.get_env(), device="cpu")
    assert np.array_equal(actions(loaded), actions(folded))
    assert folded.learn(48, reset_num_timesteps=False).num_timesteps > model.num_timesteps


def test_folding_undoes_a_retrofit_exactly() -> None:
    model = CASES["SAC"].train()
    back = fold_gates(retrofit(model))
    for (name, a), b in zip(model.policy.state_dict().items(), back.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_entropy_coefficient_and_its_optimizer_go_along() -> None:
    model = CASES["SAC"].train()
    new = retrofit(model)
    assert torch.equal(new.log_ent_coef, model.log_ent_coef)
    assert new.log_ent_coef is not model.log_ent_coef
    assert new.ent_coef_optimizer.param_groups[0]["params"][0] is new.log_ent_coef
    (old_moments,), (new_moments,) = (m.ent_coef_optimizer.state.values() for m in (model, new))
    assert torch.equal(old_moments["exp_avg"], new_moments["exp_avg"])
    assert not new.actor.optimizer.state, "the policy's start afresh"
    fixed = SAC("MlpPolicy", "Pendulum-v1", ent_coef=0.3, device="cpu", **OFF_POLICY)
    assert retrofit(fixed).ent_coef_tensor.item() == pytest.approx(0.3)


def test_file_with_optimizer_state_schedule_and_vecnormalize(tmp_path: Path) -> None:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]), gamma=0.9)
    PPO("MlpPolicy", env, learning_rate=lambda p: 1e-3 * p, device="cpu", **PPO_SETTINGS).learn(64).save(tmp_path / "m")
    model = PPO.load(tmp_path / "m", env=env, device="cpu")
    new = retrofit(model, block_size=None, k_lr_ratio=3.0)
    assert new.get_vec_normalize_env() is env
    assert new.lr_schedule(0.25) == 1e-3 * 0.25
    new.learn(64, reset_num_timesteps=False)
    assert new.num_timesteps == 128
    without_env = retrofit(PPO.load(tmp_path / "m", device="cpu"))
    assert np.array_equal(actions(without_env), actions(model))
    assert isinstance(without_env.rollout_buffer, RolloutBuffer)


def test_given_k_init_is_neutral_up_to_rounding() -> None:
    model = CASES["TD3"].train()
    new = retrofit(model, k_init=0.25)
    assert all(gate.k.eq(0.25).all() for _, gate in named_gates(new.policy))
    np.testing.assert_allclose(actions(new), actions(model), atol=1e-5)


class Plain(ActorCriticPolicy):
    """A user's own policy class."""


class Gated(nb_agents.ActorCriticGates, Plain):
    """Its k-gated twin."""


def test_own_policy_class() -> None:
    model: Any = PPO(Plain, "Pendulum-v1", device="cpu", **PPO_SETTINGS)
    with pytest.raises(ValueError, match="no k-gated class for Plain: pass policy_class"):
        retrofit(model)
    new = retrofit(model, policy_class=Gated)
    assert type(new.policy) is Gated
    assert np.array_equal(actions(new), actions(model))
    assert type(fold_gates(new).policy) is Plain


def test_refusals_leave_the_model_alone() -> None:
    model = CASES["PPO-gSDE"].train()
    before = actions(model)
    gated = retrofit(model)
    with pytest.raises(ValueError, match="without k-gates, but its policy is a KGatedPolicy"):
        retrofit(gated)
    with pytest.raises(TypeError, match="must be a Stable-Baselines3 model, got ActorCriticPolicy"):
        retrofit(model.policy)
    with pytest.raises(ValueError, match="block_size must be an integer >= 1 or None, got 0"):
        retrofit(model, block_size=0)
    with pytest.raises(TypeError, match=r"class that extends KGatedMixin, got <class .*\.ActorCriticPolicy'>"):
        retrofit(model, policy_class=ActorCriticPolicy)
    with pytest.raises(TypeError, match=r"class that extends KGatedMixin, got 'KGatedPolicy'"):
        retrofit(model, policy_class="KGatedPolicy")
    with pytest.raises(TypeError, match="unexpected keyword argument 'block_sise'"):
        retrofit(model, block_sise=3)
    with pytest.raises(ValueError, match="no gates to fold in ActorCriticPolicy"):
        fold_gates(model)
    with pytest.raises(ValueError, match="no gates to fold in ActorCriticPolicy"):
        fold_gates(model.policy)
    assert np.array_equal(actions(model), before)
    linear = A2C("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": []}, device="cpu")
    with pytest.raises(ValueError, match="no hidden layer"):
        retrofit(linear)
    extractor = {"features_extractor_class": WithSkip}
    skip = A2C("MlpPolicy", "Pendulum-v1", policy_kwargs=extractor, device="cpu")
    before = actions(skip)
    with pytest.raises(FoldError, match=r"gate 'features_extractor.first.1': a sum with other values"):
        retrofit(skip, gate_max=None, k_init=0.25)
    assert np.array_equal(actions(skip), before)
    assert np.array_equal(actions(retrofit(skip)), before), "gates that start at 1 need nothing divided"


def test_adapted_policy_folds() -> None:
    model = retrofit(CASES["TD3"].train(), gate_critic=True)
    model.policy.train_only("gates")
    model.learn(48)
    folded = fold_gates(model)
    np.testing.assert_allclose(actions(folded), actions(model), atol=2e-5)
    assert all(parameter.requires_grad for parameter in folded.policy.actor.parameters())
    assert all(type(parameter) is nn.Parameter for parameter in folded.policy.parameters())


def test_a_batch_of_k_sets_does_not_fold() -> None:
    model = retrofit(CASES["A2C"].train())
    gates = list(model.policy.gates.values())
    k_sets = [[gate.k.detach() + i for gate in gates] for i in range(2)]
    with gates_per_row(gates, k_sets, torch.tensor([0, 1])), pytest.raises(FoldError, match="a k-set for each row"):
        fold_gates(model)


def test_policies_of_every_algorithm_fold(algorithm: Any) -> None:
    model = algorithm.make(policy_kwargs={"gate_critic": True}).learn(32)
    with torch.no_grad():
        for _, gate in named_gates(model.policy):
            gate.k.normal_()
    folded, policy = fold_gates(model), fold_gates(model.policy)
    for result in (folded.policy, policy):
        assert not any(named_gates(result))
        assert not isinstance(result, KGatedMixin)
        np.testing.assert_allclose(actions(result), actions(model), atol=2e-5)
    back = retrofit(folded, policy_class=algorithm.policy, gate_critic=True)
    assert np.array_equal(actions(back), actions(folded))
