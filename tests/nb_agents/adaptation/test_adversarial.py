"""Adaptations with learning rates that ruin a policy: none ends worse than it began.

``NB_ADAPTATIONS=200`` runs 200 of them, in a minute; here there are fewer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC

from nb_agents import KeepBest
from nb_agents.adaptation.evaluation import paired_interval
from nb_agents.returns import first_episodes
from tests.nb_agents.adaptation.worlds import ready, slides

NUMBER = int(os.environ.get("NB_ADAPTATIONS", "20"))


def draw(number: int) -> tuple[Any, float, str, float]:
    """Algorithm, learning rate, what trains, and the world's gain."""
    rng = np.random.default_rng(number)
    what = str(rng.choice(["gates", "head", "all"]))
    return (PPO, SAC)[number % 2], float(10.0 ** rng.uniform(-3.0, 2.0)), what, float(rng.choice([0.4, 0.6, 1.0, 1.6]))


def adapt(number: int, *, watched: bool) -> tuple[float, float]:
    """Interval of the difference of the final policy to its start, over 40 starts that it has not seen."""
    algorithm, rate, what, gain = draw(number)
    model = ready(algorithm, rate, slides(gain=gain), what=what, seed=number)
    test = slides(40, gain)
    before = first_episodes(model.policy, test, 10_000)
    keep = KeepBest(slides(10, gain), every=100, seed=number)
    with suppress(ValueError):  # SB3's own, where the spread of actions is no positive number
        if watched:
            with keep:
                model.learn(300, callback=keep)
        else:
            model.learn(300)
    finite = all(bool(p.isfinite().all()) for p in model.policy.parameters())
    after = first_episodes(model.policy, test, 10_000) if finite else np.full(40, -np.inf)
    return paired_interval(after, before, 0.95)


def test_no_policy_ends_worse_than_it_began() -> None:
    intervals = np.array([adapt(number, watched=True) for number in range(NUMBER)])
    worse = np.flatnonzero(intervals[:, 1] < 0.0)
    print(f"{len(worse)} of {NUMBER} are worse, {(intervals[:, 0] > 0).sum()} better, {worse.tolist()}")
    assert not len(worse)
    assert (intervals[:, 0] > 0.0).any()


@pytest.mark.parametrize("number", range(4))
def test_without_it_they_do(number: int) -> None:
    ruined = [adapt(each, watched=False)[1] < 0.0 for each in range(4 * number, 4 * number + 4)]
    assert sum(ruined) >= 2
