"""The fleet: what its runs measure, and what the table makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.questions.fleet import learners
from benchmarks.questions.fleet.question import Fleet, FleetResult, FleetRun, FleetSpec
from benchmarks.questions.fleet.tables import METHODS, fleet_answer, fleet_pictures, fleet_tables, score

SMALL = {"seed": 3, "robots": 2, "episodes": 1, "pretraining": 400}


@pytest.mark.parametrize("method", list(METHODS))
def test_a_run_is_a_pure_function_of_its_specification(method: str) -> None:
    spec = FleetSpec(method=method, **SMALL)
    result = Fleet().execute(spec)
    learners.pretrained.cache_clear()
    torch.manual_seed(7)
    assert result == Fleet().execute(spec)
    assert result.learns == {"start": 0, "separate": 2}.get(method, 1)
    assert np.shape(result.returns) == (2,)
    assert all(0.4 <= gain <= 2.5 for gain in result.gains)


def test_methods_differ_in_their_k_sets_alone_and_no_method_changes_the_policy() -> None:
    spec = FleetSpec(method="start", **SMALL)
    robots = learners.robots_of(spec)
    model = learners.pretrained(spec.seed, spec.pretraining)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    batteries = {name: learners.adapt(FleetSpec(method=name, **SMALL), robots)[0] for name in METHODS}
    assert all(torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    assert len({battery.verify().weights for battery in batteries.values()}) == 1
    sets = {name: torch.stack([battery[each] for each in battery]) for name, battery in batteries.items()}
    assert torch.equal(sets["start"], learners.k_of(model).expand(2, -1))
    assert torch.equal(sets["shared"][0], sets["shared"][1])
    for name in ("fleet", "one-scale", "separate"):
        assert not torch.equal(sets[name][0], sets[name][1])


def made_up(method: str, seed: int, value: float) -> FleetRun:
    result = FleetResult([1.0] * 4, [1.0] * 4, [value, value, value, -100.0], 1)
    return FleetRun(FleetSpec(method=method, seed=seed, robots=4), result, {}, None, 1.0, 1.0)


@pytest.mark.parametrize(("lead", "tone"), [(0.0, "same"), (1.0, "better"), (-1.0, "worse")])
def test_table_and_verdict_are_made_of_the_runs(lead: float, tone: str) -> None:
    levels = {"fleet": -2.0 + lead, "separate": -2.0, "start": -5.0}
    runs = [made_up(name, seed, level) for name, level in levels.items() for seed in range(100, 105)]
    assert score(runs[0]) == -2.0 + lead
    (table,) = fleet_tables(runs)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == ["`fleet`", "`separate`", "`start`"]
    assert rows["`start`"]["`fleet` − this"].startswith(f"+{3.0 + lead:.2f} [")
    assert rows["`separate`"]["mean over robots"] == "−26.50"
    verdict = fleet_answer(runs)
    assert verdict is not None
    assert verdict.tone == tone
    assert [each.name for each in fleet_pictures(runs)] == ["fleet"]


def test_without_separate_adaptations_there_is_no_verdict() -> None:
    assert fleet_answer([made_up("fleet", 100, -1.0)]) is None
