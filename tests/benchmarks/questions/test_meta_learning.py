"""Navigation2D and the sign flip: what their runs measure, and what the tables make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.questions.navigation import question as navigation
from benchmarks.questions.navigation.question import Navigation, NavigationSpec
from benchmarks.questions.navigation.tables import navigation_tables
from benchmarks.questions.sign_flip import question as sign_flip
from benchmarks.questions.sign_flip.question import SignFlip, SignFlipResult, SignFlipRun, SignFlipSpec
from nb_evaluation.report.tables import Table
from tests.benchmarks.tools import stored


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (navigation, sign_flip):
        small = {"tasks_per_iteration": 2} if module is navigation else {}
        monkeypatch.setattr(module, "SETTINGS", {**module.SETTINGS, **small, "episodes_per_task": 2})


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("method", ["maml", "joint", "reptile", "untrained"])
def test_methods_get_the_same_number_of_rollouts_on_navigation(method: str) -> None:
    spec = NavigationSpec(method=method, seed=0, iterations=3)
    result = Navigation().execute(spec)
    rollouts = {"maml": 2, "joint": 1, "reptile": 1, "untrained": 1}[method]
    assert len(result.steps) == len(result.held_out) == (0 if method == "untrained" else 6 // rollouts)
    assert {len(each) for each in result.training} <= {rollouts}
    assert np.shape(result.final) == (4, 40)
    assert result == Navigation().execute(spec), "a run is a pure function of its specification"


@pytest.mark.usefixtures("_small")
def test_the_sign_flip_measures_both_signs_from_the_fixed_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = SignFlip().execute(SignFlipSpec(method="joint", seed=0, iterations=1))
    assert result.steps == [2 * 2 * 1000 * i for i in range(1, 5)]
    assert np.shape(result.final) == (6, 2)

    class NoTorque:
        def predict(self, observation: Any, **_: Any) -> tuple[Any, None]:
            return np.zeros((len(observation), 1), dtype=np.float32), None

    expected = anchor_returns({"A": 1.0})["no torque"]
    assert sign_flip.deterministic_return(NoTorque(), -1.0) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


def made_up(method: str, seed: int) -> SignFlipRun:
    """A run in which MAML reaches −50 and −60 after three steps, the others −1000 and −2000."""
    final = [[-50.0, -60.0] if method == "maml" and k >= 3 else [-1000.0, -2000.0] for k in range(6)]
    return SignFlipRun(SignFlipSpec(method=method, seed=seed), SignFlipResult([], [], final), {}, None, 1.0, 1.0)


def cells(table: Table, name: str) -> dict[str, str]:
    (row,) = [row for row in table.rows if row[0] == f"`{name}`"]
    return dict(zip(table.columns, row, strict=True))


def test_the_sign_flips_table_is_made_of_its_runs() -> None:
    runs = [made_up(name, seed) for name in ("joint", "maml") for seed in range(100, 105)]
    (table,) = SignFlip().tables(runs)
    assert cells(table, "maml")["k = 2"] == "-1000 / -2000"
    assert cells(table, "maml")["k = 3"] == "-50 / -60"
    assert cells(table, "maml")["worst seed and sign, k = 3"] == "-60"
    assert cells(table, "joint")["MAML − this, k = 3"] == "1445 [1445, 1445]"
    verdict = SignFlip().answer(runs)
    assert verdict is not None
    assert verdict[:2] == ("After 3 inner steps `maml` is above `joint`.", "better")
    assert SignFlip().answer(runs[:9]) is None, "a seed of MAML's is missing"


@pytest.mark.usefixtures("_small")
def test_a_job_goes_on_where_it_stopped(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--methods", "untrained", "--seeds", "1", "--workers", "1", "--out", str(tmp_path)]
    assert benchmarks(["navigation", *options]) == 0
    runs = stored(tmp_path)
    assert sorted(runs) == [("untrained", 100)]
    monkeypatch.setattr(Navigation, "execute", None)
    assert benchmarks(["navigation", *options]) == 0
    assert stored(tmp_path) == runs


def test_lists_of_seeds_and_old_options_are_refused_by_name(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--seeds", "100", "101"], ["--runs", str(tmp_path)]):
        with pytest.raises(SystemExit, match="2"):
            benchmarks(["navigation", *options])
    errors = capsys.readouterr().err
    assert "--seeds 100 101 is a list, as older commands took it: give the number of seeds" in errors
    assert "--runs: is not known any more: write --out FOLDER" in errors


def test_a_table_of_navigation_needs_no_maml() -> None:
    run = Navigation.run(
        NavigationSpec(method="untrained", seed=100),
        navigation.NavigationResult([], [], [], [[-80.0] * 40] * 4), {}, None, 1.0, 1.0,
    )  # fmt: skip
    (table,) = navigation_tables([run])
    assert cells(table, "untrained")["1 step"] == "-80.0"
    assert cells(table, "untrained")["MAML − this, 1 step"] == ""
    assert Navigation().answer([run]) is None
