"""The driven pendulum: `NBPendulum-v0`."""

from nb_gym.pendulum.env import NBPendulumEnv
from nb_gym.pendulum.vector import NBPendulumVectorEnv

__all__ = ["NBPendulumEnv", "NBPendulumVectorEnv"]
