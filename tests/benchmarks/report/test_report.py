import itertools
import math
import re
from pathlib import Path

import pytest

from benchmarks.protocol.anchors import CONTROLLERS, anchor_returns, normalise
from benchmarks.questions import find_question
from benchmarks.questions.transfer.tables import ALL_COLUMNS, MAIN_COLUMNS, comparison_table, gains_table, results_table
from benchmarks.report.wording import caption, describe_context, meta_tasks
from nb_evaluation.question import Job
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import describe_seeds, interval, number
from nb_evaluation.stats.estimates import Estimate


@pytest.fixture
def runs(made_up_run):
    """Two methods, five seeds; nb-pro is better than fine-tune by 3 to 7."""
    finals = {"nb-pro": (-9.0, -10.0, -11.0, -12.0, -13.0), "fine-tune": (-12.0, -14.0, -16.0, -18.0, -20.0)}
    return [
        made_up_run(method=method, seed=seed, final=final)
        for method, each in finals.items()
        for seed, final in enumerate(each, start=100)
    ]


def markdown_page(runs, command):
    question = find_question("transfer")
    return Job(Path("job"), "job", question, command, runs, []).markdown(question.tables(runs))


def row_of(table, name):
    (row,) = [row for row in table.rows if row[0].strip("`*") == name]
    return dict(zip(table.columns, row, strict=True))


def test_results(runs):
    table = results_table(runs)
    assert table.title == "Return at A = 1.8"
    row = row_of(table, "nb-pro")
    assert row["zero-shot"] == "−900.0"
    assert re.fullmatch(r"−11\.0 \[−1[12]\.\d, −(9|10)\.\d\]", row["last evaluation [95 % CI]"])
    assert row["final [95 % CI]"].startswith("−155.5 [")  # the mean of -300 and each seed's last
    assert row["area under the curve [95 % CI]"].startswith("−377.8 [")  # (900 / 2 + 300 + 11 / 2) / 2
    assert row["episodes to −500"] == "2 [2, 2]"  # -300 after 2 episodes, the last after 4
    assert row["episodes to −20"] == "4 [4, 4]"
    assert row["source task before"] == "−50.0"
    assert row["forgetting [95 % CI]"] == "+0.0 [+0.0, +0.0]"
    assert row["CPU time per run"] == "1 s"
    assert row["seeds"] == "5"
    assert row["best training episode [95 % CI]"] == "−80.0 [−80.0, −80.0]"
    assert row["last 10 training episodes"] == "−367.5"
    assert row["source task afterwards [95 % CI]"] == "−50.0 [−50.0, −50.0]"
    assert row["numbers adapted"] == "10"
    assert row["environment steps"] == "6,000"
    assert row["wall time per run"] == "1 s"


def test_every_controller_and_published_number_has_a_row(runs):
    table = results_table(runs)
    assert row_of(table, "no torque")["final, normalised"] == "0.000"
    assert row_of(table, "drive cancelled + PD")["final, normalised"] == "1.000"
    assert row_of(table, "published: NB Pro")["best training episode [95 % CI]"] == "−3,068"
    assert len(table.rows) == 2 + len(CONTROLLERS) + 3


def test_published_numbers_stand_beside_their_own_task_only(made_up_run):
    table = results_table([made_up_run(target={"A": 1.5})])
    assert not any("published" in row[0] for row in table.rows)


def test_references_are_those_of_the_design_page():
    """Its figures are means of 64 other starts."""
    references = anchor_returns({"A": 1.8})
    expected = {"no torque": -3829, "PD(100, 20)": -14.3, "bang-bang": -4.0, "drive cancelled + PD": -2.9}
    assert references == pytest.approx(expected, rel=0.1)
    assert normalise(references["bang-bang"], references) > 0.999


def test_comparison_is_paired_by_seed(runs, made_up_run):
    runs = [*runs, made_up_run(method="nb-pro", seed=105, final=-9999.0)]  # a seed that fine-tune did not run
    (row,) = comparison_table(runs).rows
    assert row[0] == "`nb-pro`"
    assert re.fullmatch(r"\+2\.5 \[\+[12]\.\d, \+[23]\.\d\]", row[1])  # the last of two evaluations differs, by 5
    assert re.fullmatch(r"\+1\.2 \[\+[01]\.\d, \+[12]\.\d\]", row[2])  # and weighs a quarter of the area
    assert row[3].startswith("0.94 [")  # of 25 pairs -12 and -12 count half, -13 and -12 nothing
    assert row[4] == "+1.00 [+1.00, +1.00]"  # better on every seed
    assert row[5] == "5"


def test_no_comparison_without_the_baseline(runs):
    assert comparison_table([run for run in runs if run.spec.method == "nb-pro"]) is None
    assert comparison_table([run for run in runs if run.spec.method == "fine-tune"]) is None


@pytest.mark.parametrize("num_seeds", [1, 4])
def test_few_seeds_have_no_interval(runs, num_seeds):
    """Their bootstrap intervals would cover a half (2 seeds) to 87 % (4 seeds)."""
    few = [run for run in runs if run.spec.seed < 100 + num_seeds]
    assert "[" not in row_of(results_table(few), "nb-pro")["final [95 % CI]"]
    for table in (comparison_table(few), gains_table(few)):
        assert not any("[" in cell for row in table.rows for cell in row)
    assert "intervals" not in caption(few, "command")


def test_a_method_that_lacks_a_run_shows_how_many_it_has(runs):
    table = results_table(runs[1:])
    assert (row_of(table, "nb-pro")["seeds"], row_of(table, "fine-tune")["seeds"]) == ("4", "5")


def test_the_page_says_what_policies_and_controllers_see(runs, made_up_run):
    text = "Policies observe theta, theta_dot, sin_drive, cos_drive and decide once per 20 physics steps"
    page = markdown_page(runs, "command")
    assert text in page
    assert "nominal 95 %" in page
    assert "With `-k`" not in page
    assert "With `-k`" in markdown_page([made_up_run(method="nb-k")], "command")


def test_a_scale_without_length_normalises_nothing():
    assert math.isnan(normalise(-1.0, {"no torque": -2.0, "drive cancelled + PD": -2.0}))


def test_page_is_markdown_that_says_how_it_was_made(runs):
    page = markdown_page(runs, "python -m benchmarks transfer --seeds 3")
    lines = page.splitlines()
    tables = [list(group) for is_row, group in itertools.groupby(lines, lambda line: line[:1] == "|") if is_row]
    assert len(tables) == 7
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)
    shown = {cell.strip() for table in tables for cell in table[0].split("|")}
    assert set(ALL_COLUMNS) <= shown
    assert lines[-1] == caption(runs, "python -m benchmarks transfer --seeds 3")
    assert "5 seeds (100 to 104); PPO; 2 + 4 episodes of 1,000 physics steps; A = 1 → A = 1.8" in lines[-1]
    assert "`python -m benchmarks transfer --seeds 3` at 0123456789ab" in lines[-1]


def test_table_with_fewer_columns(runs):
    table = results_table(runs).select(MAIN_COLUMNS)
    assert tuple(table.columns) == MAIN_COLUMNS
    assert [table.rows[0][i] for i in (0, 2, 3)] == ["`nb-pro`", "−80.0 [−80.0, −80.0]", "10"]


def test_texts():
    assert number(-3068.2) == "−3,068"
    assert number(-999.94) == "−999.9"
    assert number(5.0, signed=True) == "+5.0"
    assert number(float("nan")) == ""
    assert interval(Estimate(-1.0, -2.0, -0.5), 5) == "−1.0 [−2.0, −0.5]"
    assert describe_context({"A": 1.8, "torque_gain": -1.0}) == "A = 1.8, torque_gain = −1"
    assert describe_context({}) == "the defaults"
    assert describe_seeds([100]) == "1 seed (100)"
    assert describe_seeds([100, 102, 103, 110]) == "4 seeds (100, 102 to 103, 110)"
    assert Table("", ["a", "b"], [["x", "1"]]).markdown() == "| a | b |\n| --- | ---: |\n| x | 1 |\n"


def test_what_meta_learners_learn_from_is_told(made_up_run):
    assert meta_tasks([made_up_run(method="nb")]) == ""
    one, several = (
        meta_tasks([made_up_run(method="nb", source=source), made_up_run(method="maml", source=source)])
        for source in ({"A": 1.0}, {"A": (1.0, 1.5)})
    )
    assert one == "Meta-learners have one task to learn from, the source that all methods train on, A = 1."
    assert several == "Meta-learners draw their tasks from the source, A ~ U[1, 1.5]."


def test_gains_are_paired_within_runs(made_up_run):
    runs = [made_up_run(method=method, seed=seed) for method in ("nb-k", "scratch") for seed in range(100, 105)]
    (row,) = gains_table(runs).rows
    # zero-shot -900, then -300 and -10, in every run; the source task stays at -50
    assert row == ["`nb-k`", "+745.0 [+745.0, +745.0]", "+0.0 [+0.0, +0.0]", "5"]
