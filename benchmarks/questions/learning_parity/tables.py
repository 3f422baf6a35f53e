"""The tables of the learning tests: the plain policy's scores, and the gated ones' differences from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Tone, Verdict
from nb_evaluation.stats.estimates import Estimate, paired_difference

PLAIN = "plain"

TASK_NAMES = (
    "DQN discrete", "QRDQN discrete", "A2C discrete", "A2C multi-discrete", "A2C multi-binary", "PPO discrete",
    "PPO multi-discrete", "PPO multi-binary", "TRPO discrete", "TRPO multi-discrete", "TRPO multi-binary",
    "MaskablePPO masked", "RecurrentPPO discrete", "ARS discrete", "A2C box", "PPO box", "SAC box", "TD3 box",
    "DDPG box", "TQC box", "CrossQ box", "DQN bit-flipping", "SAC bit-flipping",
)  # fmt: skip
"""The keys of `tasks.TASKS`, which needs SB3."""

Scores = Mapping[tuple[str, str], Mapping[int, float]]
"""By task and variant, and by seed."""


def learning_tables(runs: Sequence[Any]) -> list[Table]:
    """The scores at the end and halfway."""
    made = []
    for moment, title in (("end", "Scores after the training"), ("half", "Scores after half of the training")):
        scores = _scores(runs, moment)
        variants = sorted({run.spec.method for run in runs} - {PLAIN})
        rows = [
            [task, f"{np.mean(list(scores[task, PLAIN].values())):.1f}"]
            + [_difference(scores, task, variant) for variant in variants]
            for task in TASK_NAMES
            if (task, PLAIN) in scores
        ]
        made.append(Table(title, ["task", PLAIN, *(f"{each} − {PLAIN}" for each in variants)], rows))
    return made


def learning_answer(runs: Sequence[Any]) -> Verdict | None:
    """How many tasks the gates with their defaults end below the plain policy; None without both."""
    scores = _scores(runs, "end")
    found = [_estimate(scores, task, "default") for task, variant in scores if variant == "default"]
    below, above = sum(each.high < 0.0 for each in found), sum(each.low > 0.0 for each in found)
    if not found:
        return None
    tone: Tone = "open" if below and above else "worse" if below else "better" if above else "same"
    what = f"below SB3's own policy in {below or 'none'} of {len(found)} tasks, and above it in {above or 'none'}"
    return Verdict(f"With their defaults gates end {what}.", tone)


def _scores(runs: Sequence[Any], moment: str) -> dict[tuple[str, str], dict[int, float]]:
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for run in runs:
        scores.setdefault((run.spec.task, run.spec.method), {})[run.spec.seed] = getattr(run.result, moment)
    return scores


def _estimate(scores: Scores, task: str, variant: str) -> Estimate:
    """Interquartile mean of variant minus plain, seed by seed."""
    ours, plain = scores[task, variant], scores[task, PLAIN]
    seeds = sorted(ours.keys() & plain.keys())
    return paired_difference([ours[s] for s in seeds], [plain[s] for s in seeds], np.random.default_rng(0))


def _difference(scores: Scores, task: str, variant: str) -> str:
    """The estimate with its interval, as a cell."""
    if (task, variant) not in scores:
        return "—"
    found = _estimate(scores, task, variant)
    cell = f"{found.point:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    return f"**{cell}**" if found.high < 0 else cell
