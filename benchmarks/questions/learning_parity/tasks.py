"""The tasks of SB3's and sb3-contrib's own learning tests, with the settings of these tests.

Identity tasks (tests/test_identity.py of both): the action has to repeat the observation. Bit flipping with hindsight
experience replay (tests/test_her.py): turn all bits into the goal's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import (
    BitFlippingEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

import nb_agents
from nb_agents import contrib

DIM = 4
EPISODE = 100
"""Steps of an episode of an identity task, and so the best return."""


@dataclass(frozen=True)
class Task:
    """A learning test.

    Attributes:
        algorithm: Class of SB3 or sb3-contrib.
        gated: Class of the k-gated policy.
        make_env: Function that makes the environment.
        steps: Number of training steps.
        score: Function that scores the trained model, in [0, 100].
        settings: Settings of the algorithm that differ from its defaults.
        plain: Name of the policy without gates.
    """

    algorithm: type[BaseAlgorithm]
    gated: type[Any]
    make_env: Callable[[], VecEnv]
    steps: int
    score: Callable[[BaseAlgorithm], float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    plain: str = "MlpPolicy"

    def run(self, gates: Mapping[str, Any] | None, seed: int) -> tuple[float, float]:
        """The scores after half of the training and after all of it.

        Args:
            gates: Arguments of the k-gated policy; None for the plain one.
            seed: Seed of everything that is random.
        """
        settings = dict(self.settings)
        policy_kwargs = settings.pop("policy_kwargs", {}) | (gates or {})
        noise = settings.pop("noise", None)
        if noise is not None:
            settings["action_noise"] = NormalActionNoise(np.zeros(1), noise * np.ones(1))
        policy: Any = self.plain if gates is None else self.gated
        model = self.algorithm(
            policy, self.make_env(), policy_kwargs=policy_kwargs, seed=seed, device="cpu", **settings
        )
        halfway = _Halfway(self.steps // 2, self.score)
        model.learn(self.steps, callback=halfway)
        return halfway.result, self.score(model)


class _Halfway(BaseCallback):
    """Scores the model once, at the first step from `start` on."""

    def __init__(self, start: int, score: Callable[[BaseAlgorithm], float]) -> None:
        super().__init__()
        self.start, self.score = start, score
        self.result = math.nan

    def _on_step(self) -> bool:
        if math.isnan(self.result) and self.num_timesteps >= self.start:
            training = self.model.policy.training
            self.result = self.score(self.model)
            self.model.policy.set_training_mode(training)
        return True


def _states(space: gym.Space[Any]) -> NDArray[Any]:
    if isinstance(space, gym.spaces.Discrete):
        return np.arange(int(space.n))
    if isinstance(space, gym.spaces.MultiDiscrete):
        return np.array(list(product(*(range(n) for n in space.nvec))))
    if isinstance(space, gym.spaces.MultiBinary):
        return np.array(list(product((0, 1), repeat=space.n)), dtype=np.int8)
    return np.linspace(-1, 1, 201, dtype=np.float32)[:, None]


def identity_return(model: BaseAlgorithm) -> float:
    """The expected return of the deterministic policy, exactly: an episode's steps by the share of states it solves."""
    states = _states(model.observation_space)
    actions, _ = model.predict(states, deterministic=True)
    tolerance = EPS if isinstance(model.action_space, gym.spaces.Box) else 0.0
    solved = (np.abs(actions.astype(np.float64) - states) <= tolerance).reshape(len(states), -1).all(axis=1)
    return float(EPISODE * solved.mean())


EPS = 0.5
"""How near an action has to be in the continuous identity task."""

ENVS: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "discrete": lambda: IdentityEnv(DIM),
    "multi-discrete": lambda: IdentityEnvMultiDiscrete(DIM),
    "multi-binary": lambda: IdentityEnvMultiBinary(DIM),
    "masked": lambda: InvalidActionEnvDiscrete(dim=DIM, n_invalid_actions=1),
    "box": lambda: IdentityEnvBox(eps=EPS),
}

_DISCRETE: dict[str, Any] = {"gamma": 0.4}
_DQN: dict[str, Any] = _DISCRETE | {"learning_starts": 0}
_QRDQN: dict[str, Any] = _DQN | {
    "learning_rate": 1e-3, "policy_kwargs": {"n_quantiles": 25, "net_arch": [32]}, "target_update_interval": 10,
    "train_freq": 2, "batch_size": 256,
}  # fmt: skip
_TRPO: dict[str, Any] = _DISCRETE | {"learning_rate": 1e-3}
_BOX: dict[str, Any] = {"gamma": 0.95, "policy_kwargs": {"net_arch": [64, 64]}}
_ARS: dict[str, Any] = {"n_delta": 4, "zero_policy": False, "policy_kwargs": {"net_arch": [32]}}
_RECURRENT: dict[str, Any] = _DISCRETE | {"policy_kwargs": {"lstm_hidden_size": 16}}
_ALL = ("discrete", "multi-discrete", "multi-binary")

IDENTITY: tuple[tuple[type[BaseAlgorithm], type[Any], tuple[str, ...], int, dict[str, Any]], ...] = (
    (DQN, nb_agents.KGatedDQNPolicy, ("discrete",), 4000, _DQN),
    (QRDQN, contrib.KGatedQRDQNPolicy, ("discrete",), 1500, _QRDQN),
    (A2C, nb_agents.KGatedPolicy, _ALL, 3000, _DISCRETE),
    (PPO, nb_agents.KGatedPolicy, _ALL, 3000, _DISCRETE),
    (TRPO, contrib.KGatedTRPOPolicy, _ALL, 1500, _TRPO),
    (MaskablePPO, contrib.KGatedMaskablePolicy, ("masked",), 3000, _DISCRETE),
    (RecurrentPPO, contrib.KGatedRecurrentPolicy, ("discrete",), 1000, _RECURRENT),
    (ARS, contrib.KGatedARSPolicy, ("discrete",), 8000, _ARS),
    (A2C, nb_agents.KGatedPolicy, ("box",), 3500, _BOX),
    (PPO, nb_agents.KGatedPolicy, ("box",), 3000, _BOX),
    (SAC, nb_agents.KGatedSACPolicy, ("box",), 700, _BOX),
    (TD3, nb_agents.KGatedTD3Policy, ("box",), 500, _BOX | {"noise": 0.1}),
    (DDPG, nb_agents.KGatedTD3Policy, ("box",), 500, _BOX),
    (TQC, contrib.KGatedTQCPolicy, ("box",), 350, _BOX),
    (CrossQ, contrib.KGatedCrossQPolicy, ("box",), 500, _BOX),
)


def success(model: BaseAlgorithm) -> float:
    """Successful episodes among the last 100 of the training, in per cent."""
    return 100.0 * float(np.mean(model.ep_success_buffer or [0.0]))


def _flip(n_bits: int, continuous: bool, n_envs: int) -> Callable[[], VecEnv]:
    return lambda: make_vec_env(lambda: BitFlippingEnv(n_bits=n_bits, continuous=continuous), n_envs)


_HER: dict[str, Any] = {"replay_buffer_class": HerReplayBuffer, "learning_starts": 100}
_DQN_HER: dict[str, Any] = _HER | {
    "replay_buffer_kwargs": {"n_sampled_goal": 5, "goal_selection_strategy": "future"}, "learning_rate": 5e-4,
    "train_freq": 1, "gradient_steps": 2, "exploration_final_eps": 0.02, "target_update_interval": 500,
    "batch_size": 32, "buffer_size": 100_000,
}  # fmt: skip
_SAC_HER: dict[str, Any] = _HER | {
    "replay_buffer_kwargs": {"n_sampled_goal": 2, "goal_selection_strategy": "future", "copy_info_dict": True},
    "train_freq": 4, "gradient_steps": 4, "policy_kwargs": {"net_arch": [64]}, "buffer_size": 20_000,
    "learning_rate": 1e-3,
}  # fmt: skip


def _identity(
    algorithm: type[BaseAlgorithm], gated: type[Any], kind: str, steps: int, settings: dict[str, Any]
) -> Task:
    plain = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    return Task(algorithm, gated, lambda: DummyVecEnv([ENVS[kind]]), steps, identity_return, settings, plain)


TASKS: dict[str, Task] = {
    f"{algorithm.__name__} {kind}": _identity(algorithm, gated, kind, steps, settings)
    for algorithm, gated, kinds, steps, settings in IDENTITY
    for kind in kinds
} | {
    "DQN bit-flipping": Task(
        DQN, nb_agents.KGatedDQNMultiInputPolicy, _flip(10, False, 2), 5000, success, _DQN_HER, "MultiInputPolicy"
    ),
    "SAC bit-flipping": Task(
        SAC, nb_agents.KGatedSACMultiInputPolicy, _flip(4, True, 1), 1000, success, _SAC_HER, "MultiInputPolicy"
    ),
}
"""By name: the algorithm and what it learns. TQC and CrossQ, which sb3-contrib does not test so, as SAC; SAC's bits as
in the test with HER, but for as long as success takes."""
