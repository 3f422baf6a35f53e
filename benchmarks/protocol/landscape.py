"""How far a policy carries: its return in contexts that it was not trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.environments import make_vector_env, mean_returns
from benchmarks.protocol.results import DRIVES, GRID_DRIVES, GRID_GAINS, Landscape
from benchmarks.protocol.spec import RunSpec

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy

NUM_STARTS = 16
"""Number of fixed starts in each context, from the first on; fewer than elsewhere, as there are many contexts."""


def survey(spec: RunSpec, policy: BasePolicy) -> Landscape:
    """Measure a policy in all these contexts in one batch."""
    grid = np.array([(A, gain) for A in GRID_DRIVES for gain in GRID_GAINS])  # (num_points, 2)
    target_gain = spec.target.get("torque_gain", 1.0)
    line = np.array([(A, target_gain) for A in DRIVES])
    contexts = np.repeat(np.concatenate([line, grid]), NUM_STARTS, axis=0)
    settings = dict[str, float | NDArray[np.float64]](spec.target)
    settings |= {"A": contexts[:, 0], "torque_gain": contexts[:, 1]}
    env = make_vector_env(spec.settings, len(contexts), **settings)
    returns, _ = mean_returns(env, policy, NUM_STARTS)
    rounded = np.round(returns, 1)
    shape = len(GRID_DRIVES), len(GRID_GAINS)
    return Landscape(rounded[: len(DRIVES)].tolist(), rounded[len(DRIVES) :].reshape(shape).tolist())
