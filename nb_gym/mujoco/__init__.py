"""Robots whose dynamics are arguments: `NBHalfCheetah-v0` and others, and the same of any MuJoCo environment."""

try:
    import imageio  # noqa: F401  # Gymnasium's MuJoCo environments import it to draw
    import mujoco  # noqa: F401
except ImportError as error:
    from gymnasium.error import DependencyNotInstalled

    raise DependencyNotInstalled(f'robots need MuJoCo ({error}): run `pip install "neural-battery[mujoco]"`') from error

from nb_gym.mujoco.env import NBMujocoEnv
from nb_gym.mujoco.model_env import ModelEnv
from nb_gym.mujoco.tasks import TASKS, Task
from nb_gym.mujoco.vector import NBMujocoVectorEnv

__all__ = ["TASKS", "ModelEnv", "NBMujocoEnv", "NBMujocoVectorEnv", "Task"]
