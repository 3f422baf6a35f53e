"""Films a cheetah with other k's: `python -m benchmarks film`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.robots.searching import find, gated
from benchmarks.questions.robots.training import held, make_robots
from benchmarks.questions.robots.worlds import ROBOTS, Robot
from benchmarks.report.film import FRAME_SIZE, save_film
from nb_evaluation.arguments import add_out, make_out, make_parser
from nb_gym import tile

ROBOT, TARGET, SEED = "HalfCheetah", "inverted_actions", 100
DECISIONS, EVERY = 140, 2
"""Decisions that are shown, and of how many there is a picture."""

DESCRIPTION = """\
Film a cheetah whose motors are inverted, with the policy of the usual one and
with the two k's that a search of 25 episodes finds for it, side by side, as
FOLDER/robots.gif. Policy and search are those of seed 100 of `nb-k-cma`, see
`python -m benchmarks robots`. Without a screen, set MUJOCO_GL=egl.
"""

TITLES = ("inverted motors: the trained policy", "the same weights, two other k's")


def policies(robot: Robot, seed: int, steps: int) -> tuple[list[Any], Any]:
    """The source policy, and the same with the k's that a search of 25 episodes finds in the target.

    Returns:
        The policies, and the statistics that they see observations through.
    """
    model, begin = gated(robot, 64, seed, steps)
    return [model.policy, find("nb-k-cma", model.policy, begin, robot, TARGET, seed)[0]], begin.observations


def frames(robot: Robot, actors: list[Any], statistics: Any, decisions: int) -> Iterator[NDArray[np.uint8]]:
    """Both from the same start, side by side."""
    shown = {"render_mode": "rgb_array", "frame_size": FRAME_SIZE, "reset_noise_scale": 0.0}
    env = held(make_robots(robot, len(actors), {**robot.targets[TARGET], **shown}), statistics)
    observations: Any = env.reset()
    for step in range(decisions):
        actions = [actor.predict(each, deterministic=True)[0] for actor, each in zip(actors, observations, strict=True)]
        observations, *_ = env.step(np.stack(actions))
        if step % EVERY == EVERY - 1:
            yield tile([frame for frame in env.get_images() if frame is not None])
    env.close()


def main(arguments: Sequence[str], program: str = "python -m benchmarks film") -> int:
    """Train, film and write; see `--help`.

    Returns:
        The exit status, 0.
    """
    parser = make_parser(program, DESCRIPTION)
    add_out(parser, Path("benchmarks/out/robots"))
    out: Path = parser.parse_args(arguments).out
    make_out(parser, out)
    robot = ROBOTS[ROBOT]
    actors, statistics = policies(robot, SEED, robot.source_steps)
    save_film(frames(robot, actors, statistics, DECISIONS), TITLES, out / "robots.gif")
    return 0
