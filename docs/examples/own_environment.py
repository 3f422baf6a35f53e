"""Your own environment: train on it, change its dynamics, and let ten numbers follow."""

import os

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import PPO

from nb_agents import KGatedPolicy, transfer

STEPS = int(os.environ.get("EXAMPLE_STEPS", "40000"))


class Cart(gym.Env):
    """A cart on a line, pushed to the origin: its mass and its motor are the dynamics that may change."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, mass: float = 1.0, motor: float = 1.0) -> None:
        self.mass, self.motor = mass, motor

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(-1.0, 1.0, 2)
        return self._observe(), {}

    def step(self, action):
        force = float(np.clip(action[0], -1.0, 1.0))
        self.speed += 0.1 * (self.motor * force - 0.1 * self.speed) / self.mass
        self.place += 0.1 * self.speed
        return self._observe(), -abs(self.place), False, False, {}

    def _observe(self):
        return np.clip([self.place, self.speed], -10.0, 10.0).astype(np.float32)


def make(**dynamics: float) -> gym.Env:
    return TimeLimit(Cart(**dynamics), 100)


model = PPO(KGatedPolicy, make(motor=1.0), gamma=0.95, seed=0)
model.learn(STEPS)
moved = transfer(model, make(motor=8.0), total_timesteps=STEPS, train_only="gates")
print(moved)
moved.battery.apply("source")
print(f"with the old k's put back: {moved.evaluate():.1f}")
