"""Gates for trained SB3 models, which stay the same models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nb_agents
from nb_agents.gates.gate import named_gates
from nb_agents.policies.usage import plain_class
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.retrofit import retrofit
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.shared import WithSkip
from tests.nb_agents.surgery.trained import (
    CASES,
    OFF_POLICY,
    PPO_SETTINGS,
    Case,
    actions,
    critics,
    observations,
    values,
)


def test_models_of_every_algorithm_are_retrofitted_trained_and_folded(algorithm: Any) -> None:
    """sb3-contrib's too: it is the registry of `nb_agents.policies.usage` that knows the classes."""
    plain = algorithm.make(policy=plain_class(algorithm.policy)).learn(32)
    gated = retrofit(plain)
    assert type(gated.policy) is algorithm.policy
    assert np.array_equal(actions(gated), actions(plain))
    folded = fold_gates(gated.learn(32))
    assert type(folded.policy) is type(plain.policy)


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
