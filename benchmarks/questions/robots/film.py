"""Films a cheetah with other k's: `python -m benchmarks film`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.robots.contextual import filled, make_teacher
from benchmarks.questions.robots.training import held, make_robots
from benchmarks.questions.robots.worlds import ROBOTS, Robot
from benchmarks.report.film import FRAME_SIZE, save_film
from nb_evaluation.arguments import add_out, make_out, make_parser
from nb_gym import tile

ROBOT, TARGET, SEED = "HalfCheetah", "crippled_backlegs", 100
DECISIONS, EVERY = 200, 2
"""Decisions that are shown, and of how many there is a picture."""

DESCRIPTION = """\
Film a cheetah whose back legs are crippled, with the k's of the whole robot and
with its own, side by side, as FOLDER/robots.gif. The teacher of one seed is
trained as by `python -m benchmarks robots`, which takes some minutes. Without a
screen, set MUJOCO_GL=egl.
"""

TITLES = ("crippled back legs, k's of the whole robot", "the same weights, its own k's")


def policies(robot: Robot, seed: int, steps: int) -> tuple[list[Any], Any]:
    """The teacher's policies for the default robot and for the target, the same weights with other k's; what they see.

    Returns:
        The policies, and the statistics that they see observations through.
    """
    teacher, _ = make_teacher("retrofit", robot, 64, seed, steps)
    statistics = teacher.get_env().obs_rms
    assert robot.family is not None
    told = [filled(robot, context) for context in ({}, robot.targets[TARGET])]
    made = [teacher.policy.at({name: each[name] for name in robot.family.ranges}) for each in told]
    return made, statistics["observation"]


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
    actors, statistics = policies(robot, SEED, robot.family_steps)
    save_film(frames(robot, actors, statistics, DECISIONS), TITLES, out / "robots.gif")
    return 0
