"""Driven pendulums for Gymnasium: importing this registers `NBPendulum-v0`, its `Control` variant, `Navigation2D`."""

from importlib.metadata import version

from gymnasium.envs.registration import register

from nb_gym import wrappers
from nb_gym.navigation import Navigation2DEnv, Navigation2DVectorEnv
from nb_gym.pendulum import NBPendulumEnv, NBPendulumVectorEnv, controllers
from nb_gym.pendulum.dynamics import Context, difficulty
from nb_gym.rendering import tile
from nb_gym.vector_base import VectorBase

__all__ = [
    "Context",
    "NBPendulumEnv",
    "NBPendulumVectorEnv",
    "Navigation2DEnv",
    "Navigation2DVectorEnv",
    "VectorBase",
    "controllers",
    "difficulty",
    "tile",
    "wrappers",
]

# No max_episode_steps, which would count decisions whatever the frame skip: the environments count their steps
# themselves and write their own number into the spec (see `interface.py`).
register(
    id="NBPendulum-v0",
    entry_point="nb_gym.pendulum:NBPendulumEnv",
    vector_entry_point="nb_gym.pendulum:NBPendulumVectorEnv",
)
# The same pendulum as SB3's default settings learn it, see `NBPendulumEnv`.
register(
    id="NBPendulumControl-v0",
    entry_point="nb_gym.pendulum:NBPendulumEnv",
    vector_entry_point="nb_gym.pendulum:NBPendulumVectorEnv",
    kwargs={"frame_skip": 20, "observe": ("theta", "theta_dot", "sin_drive", "cos_drive"), "reward_scale": 1 / 20},
)
register(
    id="Navigation2D-v0",
    entry_point="nb_gym.navigation:Navigation2DEnv",
    vector_entry_point="nb_gym.navigation:Navigation2DVectorEnv",
)
# Gymnasium's v5 robots with contexts. Nothing here imports MuJoCo, an extra, before one is made.
for _name in ("HalfCheetah", "Hopper", "Walker2d", "Ant", "Humanoid", "InvertedDoublePendulum", "Reacher"):
    register(
        id=f"NB{_name}-v0",
        entry_point="nb_gym.mujoco:NBMujocoEnv",
        vector_entry_point="nb_gym.mujoco:NBMujocoVectorEnv",
        kwargs={"source": f"{_name}-v5"},
    )

__version__: str


def __getattr__(name: str) -> str:
    """Look the `__version__` of the installed distribution up when it is asked for."""
    if name == "__version__":
        return version("neural-battery")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
