"""The environment that the quick start of the paper's README asks for; `docs/guides/paper-recipe.md` prints both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nb_gym import NBPendulumEnv


class PendulumEnvironment:
    """`NBPendulumEnv` with the interface of the paper's own environment, which is older than Gymnasium's.

    Args:
        A: Amplitude of the drive.
        **context: Other parameters of `NBPendulumEnv`.
    """

    def __init__(self, A: float = 1.0, **context: Any) -> None:
        self.env = NBPendulumEnv(A=A, **context)

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode: θ and θ̇, shape `(2,)`."""
        return self.env.reset()[0]

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, dict[str, Any]]:
        """State, reward, whether the episode is over, and nothing."""
        state, reward, terminated, truncated, _ = self.env.step(action)
        return state, reward, terminated or truncated, {}
