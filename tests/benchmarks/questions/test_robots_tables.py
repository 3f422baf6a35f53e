"""Robots: what is read from runs, and what the tables say of them."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

from benchmarks.questions.robots.plan import FAMILY, METHODS
from benchmarks.questions.robots.question import QUESTION, RobotsRun, RobotsSpec
from benchmarks.questions.robots.results import Adaptation, RobotsResult, Row
from benchmarks.questions.robots.scores import Place, by_row, gap, places, values
from benchmarks.questions.robots.worlds import ROBOTS
from nb_evaluation.report.wording import interval
from nb_evaluation.runs.provenance import versions
from nb_evaluation.stats.estimates import iqm

CHEETAH = ROBOTS["HalfCheetah"]


def made_up(method, seed, rows, adaptation=None, target="inverted_actions", robot="HalfCheetah", width=64):
    """A run of given results."""
    whole = METHODS[method].over_contexts
    budget = {"before": 1_800_000 if whole else 1_200_000, "steps": 0 if whole else 150_000}
    place = {"robot": robot, "width": width, "target": FAMILY if whole else target}
    spec = RobotsSpec(method=method, seed=seed, **place, **budget)
    return RobotsRun(spec, RobotsResult(rows, adaptation), versions(), "0123456789ab", 1.0, 1.0)


def moved(
    seed, method="fine-tune", target="inverted_actions", early=-100.0, end=500.0, numbers=5_702, swapped=None, width=64
):
    """An adaptation whose returns rise with the seed."""
    i = float(seed - 100)
    row = Row({target: end + i, "source": 2_000.0 - i}, numbers, 1_200_000, 150_000)
    curve = Adaptation([0, 25_000, 150_000], [-50.0 - i, 40.0, end + i], [early + i] * 25, 6_000.0, swapped)
    return made_up(method, seed, {method: row}, curve, target, width=width)


def first_episode(seed, level, below=(), method="student", teacher="teacher"):
    """A student's run whose returns are a level, and −200 in some targets."""
    returns = {name: -200.0 if name in below else level + seed - 100 for name in ("source", *CHEETAH.targets, "moon")}
    return made_up(method, seed, {method: Row(returns, 0, 1_800_000), teacher: Row(returns, 10, 1_440_000)})


@pytest.fixture
def runs():
    found = []
    for seed in range(100, 105):
        found += [moved(seed), moved(seed, "nb-k", end=100.0, numbers=2, swapped=6_000.0), first_episode(seed, 300.0)]
    return found


def test_what_is_read_from_runs(runs):
    assert places(runs)[0] == Place("HalfCheetah", 64, "inverted_actions")
    assert [place.target for place in places(runs)] == list(CHEETAH.targets)
    rows = by_row(runs, places(runs)[0])
    assert list(rows) == ["fine-tune", "nb-k", "student", "teacher"]
    np.testing.assert_array_equal(values(rows["fine-tune"], "early"), [-100.0, -99.0, -98.0, -97.0, -96.0])
    np.testing.assert_array_equal(values(rows["fine-tune"], "zero"), [-50.0, -51.0, -52.0, -53.0, -54.0])
    np.testing.assert_array_equal(values(rows["fine-tune"], "after"), [40.0] * 5)
    np.testing.assert_array_equal(values(rows["student"], "zero"), values(rows["student"], "final"))
    assert values(rows["student"], "early").size == 0
    estimate, seeds = gap(rows, "student", "final", "fine-tune", "early")
    assert (estimate.point, seeds) == (400.0, 5)
    assert gap(rows, "student", "early", "fine-tune", "early") is None
    assert list(by_row(runs, Place("HalfCheetah", 64, ""), "moon")) == ["student", "teacher"]


def test_tables_hold_means_worst_seeds_differences_and_what_is_kept(runs):
    tables = {table.title: {row[0]: row[1:] for row in table.rows} for table in QUESTION.tables(runs)}
    head = "HalfCheetah, `inverted_actions`"
    tuned = tables[f"{head}: returns"]["`fine-tune`"]
    assert [cell.split(" ")[0] for cell in tuned] == ["−52.0", "−98.0", "40.0", "502.0", "5,702", "5"]
    assert [cell.split("; ")[1] for cell in tuned[:4]] == ["−54.0", "−100.0", "40.0", "500.0"], "worst seeds"
    middle = iqm(np.arange(300.0, 305.0), np.random.default_rng(0))
    student = tables[f"{head}: returns"]["`student`"]
    assert student == [f"{interval(middle, 5)}; 300.0", "", "", f"{interval(middle, 5)}; 300.0", "0", "5"]
    against = tables[f"{head}: above `fine-tune`"]
    first, after, end = "+400.0 [+400.0, +400.0]", "+262.0", "−200.0 [−200.0, −200.0]"
    assert [against["`student`"][0], against["`student`"][1].split(" ")[0], *against["`student`"][2:]] == [
        first, after, end, "5"
    ]  # fmt: skip
    assert against["`nb-k`"] == ["", "+0.0 [+0.0, +0.0]", "−400.0 [−400.0, −400.0]", "5"]
    (kept,) = (table for table in QUESTION.tables(runs) if table.title == "What is kept of the source")
    assert {row[1]: row[4] for row in kept.rows} == {"`fine-tune`": "", "`nb-k`": "equal in 5 of 5"}
    (costs,) = (table for table in QUESTION.tables(runs) if table.title == "What it costs")
    assert ["HalfCheetah, 64", "`student`", "0", "1,800,000", "0"] in costs.rows


def test_what_folding_and_export_have_found_is_told():
    run = moved(100, "nb-pro-k", numbers=34)
    assert "Folded and exported" not in [table.title for table in QUESTION.tables([run])]
    run.result.checks = {"folded": 3.6e-7, "onnx": 8.1e-7, "action": 0.4, "bytes": 660_244.0}
    (table,) = (table for table in QUESTION.tables([run]) if table.title == "Folded and exported")
    told = ["HalfCheetah, `inverted_actions`", "`nb-pro-k`", "3.6e-07", "8.1e-07", "0.4", "660", "100"]
    assert table.rows == [told]


def test_every_target_is_seen_at_once(runs):
    runs += [moved(100, "head", "crippled_backlegs", end=7.0), moved(100, width=256)]
    (table,) = (table for table in QUESTION.tables(runs) if table.title == "Every target: in the end")
    told = {row[0]: {name: cell for name, cell in zip(table.columns, row, strict=True) if cell} for row in table.rows}
    cheetah = "HalfCheetah, `inverted_actions`"
    assert told == {
        cheetah: {"target": cheetah, "`fine-tune`": "502.0; 500.0", "seeds": "5"},
        "HalfCheetah, `crippled_backlegs`": {
            "target": "HalfCheetah, `crippled_backlegs`", "`head`": "7.0; 7.0", "seeds": "1",
        },
        "HalfCheetah, 256 × 256, `inverted_actions`": {
            "target": "HalfCheetah, 256 × 256, `inverted_actions`", "`fine-tune`": "500.0; 500.0", "seeds": "1",
        },
    }  # fmt: skip


def test_controls_stand_beside_what_they_could_take_the_credit_of():
    runs = []
    for seed in range(100, 103):
        runs += [first_episode(seed, 300.0, (), "retrofit-turned"), first_episode(seed, 250.0, (), "randomised-source")]
        runs += [moved(seed, "nb-k-cma", end=700.0, numbers=2), moved(seed, "scale-cma", end=690.0, numbers=1)]
    (table,) = (table for table in QUESTION.tables(runs) if table.title == "What could take the credit")
    assert [(row[0], row[1]) for row in table.rows] == [
        *[("`retrofit-turned`", "`randomised-source`")] * 4, ("`nb-k-cma`", "`scale-cma`"),
    ]  # fmt: skip
    assert [row[5].split(" ")[0] for row in table.rows] == ["+50.0"] * 4 + ["+10.0"]


HARD = ("inverted_actions", "defective_module")


@pytest.mark.parametrize(("below", "tone", "won"), [((), "better", 4), (HARD[:1], "better", 3), (HARD, "worse", 2)])
def test_the_verdict_asks_for_three_of_four_targets(below, tone, won):
    found = []
    for seed in range(100, 105):
        ours = first_episode(seed, 300.0, below, "retrofit-turned", "retrofit-turned-teacher")
        found += [ours, *(moved(seed, target=name) for name in CHEETAH.targets)]
    verdict = QUESTION.answer(found)
    assert verdict.tone == tone
    assert f"{won} of 4" in verdict.text
    assert QUESTION.answer(found[5:]) is None, "too few seeds"
    assert QUESTION.answer(found[:-1]) is None, "a target is missing"


def test_the_figure_draws_what_has_run(runs):
    (picture,) = QUESTION.figures(runs)
    assert picture.name == "robots"
    labels = [line.get_label() for line in picture.figure.axes[0].get_lines()]
    assert labels == ["fine-tune", "nb-k", "student"]
    fewer = [run for run in runs if run.spec.method != "nb-k" or run.spec.seed < 102]
    fewer += [first_episode(seed, 100.0, (), "randomised-source") for seed in range(100, 110)]
    (picture,) = QUESTION.figures(fewer)
    labels = [line.get_label() for line in picture.figure.axes[0].get_lines()]
    assert labels == [f"{name} of 10 seeds)" for name in ("fine-tune (5", "nb-k (2", "student (5")] + [
        "randomised-source"
    ]
    assert "over 10 seeds" in picture.note
    assert QUESTION.caption(fewer, "it").startswith("At most 10 seeds (100 to 109), as each row says. Made by `it`")
    assert QUESTION.figures([]) == []


def test_runs_are_written_read_and_checked(runs, tmp_path):
    for run in runs[:3]:
        assert RobotsRun.read(run.write(tmp_path)) == run
    runs[0].result.adaptation.returns.append(0.0)
    with pytest.raises(ValueError, match=r"adaptation.returns must have 3 entries, got 4"):
        RobotsRun.read(runs[0].write(tmp_path))
