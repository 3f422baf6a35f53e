"""Driven pendulums for Gymnasium: importing this registers `NBPendulum-v0`, and `Navigation2D-v0`."""

from importlib.metadata import version

from gymnasium.envs.registration import register

from nb_gym.dynamics import Context, difficulty
from nb_gym.navigation import Navigation2DEnv, Navigation2DVectorEnv
from nb_gym.pendulum import NBPendulumEnv
from nb_gym.vector import NBPendulumVectorEnv

__all__ = [
    "Context",
    "NBPendulumEnv",
    "NBPendulumVectorEnv",
    "Navigation2DEnv",
    "Navigation2DVectorEnv",
    "difficulty",
]

# No max_episode_steps: the environment counts its physics steps itself, whatever the frame skip.
register(
    id="NBPendulum-v0",
    entry_point="nb_gym.pendulum:NBPendulumEnv",
    vector_entry_point="nb_gym.vector:NBPendulumVectorEnv",
)
register(
    id="Navigation2D-v0",
    entry_point="nb_gym.navigation:Navigation2DEnv",
    vector_entry_point="nb_gym.navigation:Navigation2DVectorEnv",
)

__version__: str


def __getattr__(name: str) -> str:
    """`__version__` is that of the installed distribution, looked up when it is asked for."""
    if name == "__version__":
        return version("neural-battery")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
