"""What a watched training compares: returns from the same starts, the interval of their mean, and snapshots."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3 import PPO, SAC

from nb_agents.adaptation.evaluation import Starts, paired_interval
from nb_agents.adaptation.snapshot import Snapshot
from tests.nb_agents.adaptation.worlds import ready, slides


def test_the_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    old, difference = rng.normal(size=400), rng.normal(0.3, 1.0, 400)
    low, high = paired_interval(old + difference, old, 0.95)
    half = 1.96 * difference.std() / 20.0
    np.testing.assert_allclose([low, high], [difference.mean() - half, difference.mean() + half], atol=0.02)
    assert paired_interval(old, old, 0.95) == (0.0, 0.0)
    fall = np.where(np.arange(20) < 8, -100.0, 0.1)  # the interquartile mean of these is near 0
    assert paired_interval(fall, np.zeros(20), 0.95)[1] < 0.0
    assert paired_interval(np.array([1.0, np.nan]), np.zeros(2), 0.95)[1] == -np.inf


def test_returns_are_paired_start_by_start_over_several_rounds() -> None:
    model = ready(PPO, 1e-3)
    few, many = (Starts(slides(n, 0.6), 10, 3).evaluate(model) for n in (4, 10))
    np.testing.assert_allclose(few.returns, many.returns, rtol=1e-6)
    fresh = Starts(slides(10, 0.6), 10, 3).evaluate(model, fresh=True)
    assert not np.isin(fresh.returns, many.returns).any()


def test_snapshots_hold_what_they_say() -> None:
    model = ready(SAC, 1e-3, what="gates")
    snapshot = Snapshot(model)
    assert sum(value.numel() for value in snapshot.acting.values()) == 10
    assert snapshot.holds()
    model.learn(64)
    assert not snapshot.holds()
    helping = {tensor: tensor.detach().clone() for tensor in snapshot.helping}
    snapshot.restore(model)
    assert snapshot.holds()
    assert all(torch.equal(tensor, value) for tensor, value in helping.items())
