"""How far the policies carry, from what the runs have surveyed."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.results import DRIVES, GRID_DRIVES, GRID_GAINS, Landscape
from benchmarks.questions.transfer.generalization import (
    generalization_pictures,
    generalization_table,
    survey_of,
    surveys,
)
from benchmarks.questions.transfer.landscapes import REFERENCE_DRIVES, drive_range


@pytest.fixture
def runs(made_up_run):
    """After the transfer -10 A on the line, and -10 on the map where the gain is positive, else -1000."""
    line = [-10.0 * A for A in DRIVES]
    after = Landscape(line, [[-10.0 if gain > 0 else -1000.0 for gain in GRID_GAINS] for _ in GRID_DRIVES])
    made = [
        made_up_run(method=method, seed=seed)
        for method in ("nb-k", "nb", "head", "scratch")
        for seed in range(100, 105)
    ]
    return [replace(run, result=replace(run.result, landscape_after=after)) for run in made]


def test_the_table_tells_inside_from_outside(runs):
    table = generalization_table(runs)
    assert table.columns[1:4] == [
        "A from 0 to below 1 [95 % CI]",
        "A from 1 to 1.8 [95 % CI]",
        "A above 1.8 to 3 [95 % CI]",
    ]
    row = {row[0]: row for row in table.rows}["`nb`"]
    assert row[1:4] == ["−4.5 [−4.5, −4.5]", "−14.0 [−14.0, −14.0]", "−24.5 [−24.5, −24.5]"]
    assert row[4] == "0"  # -900 everywhere before
    assert row[5] == "46 [46, 46]"  # 6 of 13 gains
    assert {row[0]: row for row in table.rows}["`scratch`"][4] == ""  # nothing before


def test_surveys_before_are_of_policies_that_differ(runs):
    assert list(surveys(runs, "after", "over_drive")) == ["nb", "nb-k", "head", "scratch"]
    # nb-k starts as nb; head starts as fine-tune, which is not there
    assert list(surveys(runs, "before", "over_drive")) == ["nb", "head"]
    assert surveys(runs, "after", "over_drive_and_gain")["nb"].shape == (5, len(GRID_DRIVES), len(GRID_GAINS))


def test_without_surveys_nothing_is_shown(runs):
    bare = [replace(run, result=replace(run.result, landscape_before=None, landscape_after=None)) for run in runs]
    assert survey_of(bare, "after", "over_drive") is None
    assert generalization_table(bare) is None
    assert generalization_pictures(bare) == []


def test_the_shaded_range(quick_spec):
    assert drive_range(quick_spec()) == (1.0, 1.8)
    assert drive_range(quick_spec(source={"A": (1.0, 1.5)}, target={"A": 0.5})) == (0.5, 1.25)
    assert drive_range(quick_spec(source={"A": 1.0}, target={"torque_gain": -1.0})) == (1.0, 1.0)


def test_no_controller_cancels_a_drive_above_the_torque_limit():
    drives = np.array(REFERENCE_DRIVES)
    best = np.array([anchor_returns({"A": A})["drive cancelled + PD"] for A in drives])
    assert best[drives < 1.9].min() > -4.0
    assert best[drives > 2.2].max() < -20.0
