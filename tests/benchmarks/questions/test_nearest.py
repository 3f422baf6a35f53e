"""The choice of a k-set: what its runs measure, and what the tables make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.questions.nearest import worlds
from benchmarks.questions.nearest.question import Nearest, NearestResult, NearestRun, NearestSpec
from benchmarks.questions.nearest.tables import METHODS, loss, nearest_answer, nearest_tables, right, worst


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world with little training."""
    settings = {"n_steps": 50, "batch_size": 50}
    made = worlds.World("NBPendulumControl-v0", worlds.PENDULUMS, 400, 50, (50, 2), settings)
    monkeypatch.setattr(worlds, "world_of", lambda name: made)
    worlds.behaviours.cache_clear()


@pytest.mark.usefixtures("small")
def test_runs_are_pure_functions_of_their_specifications() -> None:
    results = {}
    for method in METHODS:
        spec = NearestSpec(method=method, seed=3)
        results[method] = Nearest().execute(spec)
        NearestRun(spec, results[method], {}, None, 1.0, 1.0).check()
    worlds.behaviours.cache_clear()
    torch.manual_seed(7)
    assert Nearest().execute(NearestSpec(method="dynamics", seed=3)) == results["dynamics"]
    assert len({str(result.returns) for result in results.values()}) == 1, "all methods choose by the same steps"
    assert len({str(result.chosen) for result in results.values()}) == len(METHODS)
    found = NearestRun(NearestSpec(method="dynamics", seed=3), results["dynamics"], {}, None, 1.0, 1.0)
    assert right(found) > 0.8
    best = np.argmax(results["trial"].returns, axis=1)
    assert np.array_equal(results["trial"].chosen, np.repeat(best[:, None], 8, axis=1))
    worlds.behaviours.cache_clear()


@pytest.mark.usefixtures("small")
def test_rows_are_tasks_and_k_sets() -> None:
    seen = worlds.behaviours("pendulum", 4, 50)
    assert [*seen.battery] == [*worlds.PENDULUMS, "source"]
    policy: Any = seen.battery.network
    for row in (0, 13, 63):
        steps = seen.trial(row)
        assert steps.observations.shape == (50, 4)
        np.testing.assert_array_equal(steps.observations[1:], steps.next_observations[:-1])
    first = seen.recent.observations[0]
    with seen.battery.per_row([*range(8)] * 8):
        means, _ = policy.predict(first, deterministic=True)
    assert means.shape == (64, 1)
    worlds.behaviours.cache_clear()


def made_up(method: str, seed: int, world: str, wrong: int) -> NearestRun:
    chosen = np.repeat(np.arange(8)[:, None], 8, axis=1)
    chosen[0, :wrong] = 1
    returns = np.tile(-np.arange(8.0), (8, 1))
    spec = NearestSpec(method=method, seed=seed, world=world)
    return NearestRun(spec, NearestResult(chosen.tolist(), returns.tolist()), {}, None, 1.0, 1.0)


def test_tables_and_verdict_are_made_of_the_runs() -> None:
    run = made_up("dynamics", 100, "pendulum", 4)
    assert right(run) == 60 / 64
    assert worst([run, made_up("dynamics", 101, "pendulum", 0)]) == 0.75
    assert loss(run) == 4 / 64

    def runs(wrong: int) -> list[NearestRun]:
        return [
            made_up(method, seed, world, wrong if method == "dynamics" else 8)
            for world in ("pendulum", "cheetah")
            for seed in range(100, 105)
            for method in ("dynamics", "return")
        ]

    tables = nearest_tables(runs(2))
    assert [table.title.split()[-1] for table in tables] == ["pendulum", "cheetah"]
    assert [row[0] for row in tables[0].rows] == ["`dynamics`", "`return`"]
    assert tables[0].rows[0][2].startswith("96.9 [")
    for wrong, tone in ((2, "better"), (4, "worse")):
        verdict = nearest_answer(runs(wrong))
        assert verdict is not None
        assert verdict.tone == tone
    assert nearest_answer([run]) is None
