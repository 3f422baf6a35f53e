"""A policy seen before and after the transfer, as a GIF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.environments import fixed_starts
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import EPISODE_STEPS
from benchmarks.report.film import FRAME_SIZE, save_film
from nb_gym import NBPendulumVectorEnv, tile

PICTURE_STEPS = 10
"""Physics steps from one picture of the GIF to the next."""


def save_before_and_after(run: Run, path: Path) -> None:
    """Play the same start twice, side by side: the policy as it came from the source task, and after the transfer."""
    titles = [f"{run.spec.method}: {when} the transfer" for when in ("before", "after")]
    save_film(_replay(run), titles, path)


def _replay(run: Run) -> Iterator[NDArray[np.uint8]]:
    """The two episodes from the first fixed start, side by side, one picture for every `PICTURE_STEPS`."""
    context = dict[str, Any](run.spec.target)
    env = NBPendulumVectorEnv(2, episode_steps=EPISODE_STEPS, render_mode="rgb_array", frame_size=FRAME_SIZE, **context)
    theta, theta_dot = (float(starts[0]) for starts in fixed_starts())
    env.reset(options={"theta": theta, "theta_dot": theta_dot})
    decisions = np.array([run.result.torques_before, run.result.torques_after], dtype=np.float32).T
    # Decision by decision the motion would stutter; a torque that is held is the same whoever counts the steps.
    for step, torques in enumerate(np.repeat(decisions, run.spec.settings.frame_skip, axis=0), start=1):
        env.step(torques[:, np.newaxis])
        if step % PICTURE_STEPS == 0:
            yield tile(env.render() or ())
    env.close()
