"""Trained SB3 models of every kind, and what is compared of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

import nb_agents
from nb_agents.policies.mixin import KGatedMixin

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
