"""The 2-D navigation of the MAML paper: `Navigation2D-v0`."""

from nb_gym.navigation.env import Navigation2DEnv
from nb_gym.navigation.vector import Navigation2DVectorEnv

__all__ = ["Navigation2DEnv", "Navigation2DVectorEnv"]
