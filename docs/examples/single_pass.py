"""Adaptation in one forward pass: a policy finds out in its first steps which way its motor turns."""

import os

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

import nb_gym  # noqa: F401 registers the environments
from nb_agents import KGatedPolicy, SignedKGate, VectorEnvAdapter, distill
from nb_gym.wrappers.vector import ContextObservation

STEPS = int(os.environ.get("EXAMPLE_STEPS", "24000"))
NAME = "NBPendulumControl-v0"


def worlds(n: int) -> VectorEnvAdapter:
    """Pendulums, half of them with a motor that turns the other way; the context is a part of what is observed."""
    gains = np.resize([1.0, -1.0], n)
    return VectorEnvAdapter(ContextObservation(gym.make_vec(NAME, n, torque_gain=gains), {"torque_gain": (-1.0, 1.0)}))


# The teacher is told the context: its k's are computed from it, and its layers see the rest.
teacher = PPO(
    KGatedPolicy,
    VecNormalize(worlds(8), norm_obs=False, gamma=0.8),
    policy_kwargs={"k_from": "context", "gate_class": SignedKGate},
    n_steps=50,
    batch_size=200,
    n_epochs=20,
    learning_rate=1e-3,
    gamma=0.8,
    gae_lambda=0.8,
    seed=0,
)
teacher.learn(STEPS)

# The student is not: it infers the k's from its last eight transitions.
student = distill(teacher, worlds(32), STEPS, seed=0)

for gain in (1.0, -1.0):
    env = Monitor(gym.make(NAME, torque_gain=gain))
    env.reset(seed=0)
    mean, _ = evaluate_policy(student, env, n_eval_episodes=10)
    print(f"motor {gain:+.0f}: first episodes return {mean:.1f}")
    told = teacher.policy.at([gain])  # a plain k-gated policy for a motor that is known and stays
    print(f"          told which motor it is: {evaluate_policy(told, env, n_eval_episodes=10)[0]:.1f}")
