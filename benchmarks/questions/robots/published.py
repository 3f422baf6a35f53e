"""HalfCheetahDir and HalfCheetahVel beside the figures of others that could be verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.questions.robots.scores import Place, by_row
from benchmarks.questions.robots.worlds import ROBOTS
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import interval, number
from nb_evaluation.stats.estimates import iqm

MAML_DATA = "data of MAML's Figure 5 (rllab's cheetah, 20 episodes per inner step)"
PEARL_LOGS = "logs of a re-implementation, one seed"

PUBLISHED = (
    ("HalfCheetahDir", "MAML, 0 / 1 / 3 inner steps", (-50.7, 293.2, 315.7), MAML_DATA),
    ("HalfCheetahDir", "PEARL, third episode", (1673.6,), f"{PEARL_LOGS}, 1.44 million steps"),
    ("HalfCheetahVel", "MAML, 0 / 1 / 3 inner steps", (-129.5, -78.6, -60.8), f"{MAML_DATA}, v* ~ U(0, 2)"),
    ("HalfCheetahVel", "PEARL, third episode", (-37.3,), f"{PEARL_LOGS}, 0.78 million steps, v* ~ U(0, 3)"),
)
"""Robot, what was measured, its figures, and where they are from."""

NOTE = (
    "Returns of an episode of 200 decisions: ours are means over the targets and over the default task (forward,"
    " and v* = 1.5), the interquartile mean over the seeds [95 % CI], of deterministic policies in Gymnasium's v5"
    " cheetah within 2 million steps; all observe the last reward. Those of `student`, `randomised` and `recurrent`,"
    " which is RL²'s network within one episode, are first episodes. The others' are not comparable to the digit:"
    " MAML's are means over 40 tasks on rllab's model, whose gears are others, from the repository's data"
    " (cbfinn/maml_rl 9c8e2eb, icml/*.pkl); PEARL's are the event files of a re-implementation (x35f/meta_rl"
    " 7481401), off-policy, after two episodes of exploration, with MuJoCo's older cheetah. PEARL, RL² and VariBAD"
    " have published these tasks as plots only (VariBAD and RL² at 10⁸ frames): no number of theirs is repeated"
    " here."
)


def published_table(runs: Sequence[Any]) -> Table:
    """Ours beside theirs, where there are runs of ours."""
    made = []
    for name in dict.fromkeys(each[0] for each in PUBLISHED):
        ours = [*_ours(runs, name)]
        if ours:
            theirs = [
                [f"{robot}", what, " / ".join(number(value) for value in figures), "", source]
                for robot, what, figures, source in PUBLISHED
                if robot == name
            ]
            made += ours + theirs
    return Table("Direction and velocity beside others", ["robot", "policy", "return", "seeds", "source"], made, NOTE)


def _ours(runs: Sequence[Any], name: str) -> list[list[str]]:
    robot, made = ROBOTS[name], []
    each = {target: by_row(runs, Place(name, 64, target)) for target in robot.targets}
    for row_name in dict.fromkeys(row for rows in each.values() for row in rows):
        held = [rows.get(row_name, {}) for rows in each.values()]
        seeds = [seed for seed in held[0] if all(seed in row for row in held)]
        if not seeds:
            continue
        means = []
        for seed in seeds:
            returns = [row[seed].final for row in held]
            home = [row[seed].home for row in held[:1]]
            before = held[0][seed].adaptation
            known = before.source_before if before else home[0]
            means.append(float(np.mean([*returns, *([] if known is None else [known])])))
        cell = interval(iqm(np.array(means), np.random.default_rng(0)), len(seeds))
        made.append([name, f"`{row_name}`", cell, str(len(seeds)), "here"])
    return made
