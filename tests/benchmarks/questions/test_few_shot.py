import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.commands.report import main as report
from benchmarks.methods import METHODS
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.run import Run
from benchmarks.questions.few_shot.figures import few_shot_pictures, highlighted
from benchmarks.questions.few_shot.question import CHOICES, FewShot
from benchmarks.questions.few_shot.scores import TARGETS, k_shot
from benchmarks.questions.few_shot.tables import answer, tables
from benchmarks.runs import experiment
from nb_evaluation.runs.folder import read_lines
from tests.benchmarks.tools import parse

TARGET = {"A": 1.0, "torque_gain": -1.0}


def main(arguments):
    return benchmarks(["few-shot", *arguments])


@pytest.fixture
def made_up(quick_spec, made_up_run):
    """A run whose return goes from no torque's to the reference controller's, `share` of the way per episode."""

    def make(method, share, seed=100, target=TARGET):
        references = anchor_returns(target)
        low, high = references["no torque"], references["drive cancelled + PD"]
        run = made_up_run(method=method, seed=seed, target=target, transfer_envs=1, detail=False)
        steps = [2000 + 1000 * shot for shot in range(5)]
        curve = [low + share * shot * (high - low) for shot in range(5)]
        result = replace(run.result, curve=replace(run.result.curve, steps=steps, source=curve, target=curve))
        return Run(run.spec, result, run.versions, run.commit, 1.0, 1.0)

    return make


def specifications(*options):
    return FewShot().specifications(parse(FewShot(), *options))


def test_who_takes_part():
    assert {"nb-k-cma", "nb-pro-k-cma", "scratch", "maml"} <= set(CHOICES)
    assert "randomised" not in CHOICES
    changed = {name for target in TARGETS for name in target}
    assert changed == {"A", "b", "omega", "torque_gain", "max_torque"}


def test_runs_that_share_a_pretraining_follow_each_other():
    specs = specifications("--seeds", "2")
    assert len(specs) == 2 * len(CHOICES) * len(TARGETS) == len({spec.name for spec in specs})
    pretrainings = [experiment._pretraining(spec) for spec in specs if METHODS[spec.method].pretrains]
    changes = sum(first != second for first, second in pairwise(pretrainings))
    assert changes + 1 == len(set(pretrainings))


def test_an_update_after_each_episode():
    for spec in specifications("--seeds", "1"):
        assert spec.transfer_settings.steps_between_updates == 1000
        assert spec.meta is None or spec.meta.adapt_episodes == 1
        assert spec.target["A"] == 1.0 or spec.target in ({"A": 1.8}, {"A": 2.5})


def test_k_shot_by_hand(made_up):
    run = made_up("nb-k", 0.1)
    np.testing.assert_array_equal(k_shot(run), run.result.curve.target)
    seldom = replace(run.result.curve, steps=[2000, 3000, 6000], target=[-3.0, -2.0, -1.0])
    run = replace(run, result=replace(run.result, curve=seldom))
    assert k_shot(run).tolist() == [-3.0, -2.0, -2.0, -2.0, -1.0]
    late = replace(seldom, steps=[3000, 5000, 6000])
    with pytest.raises(ValueError, match="2000 is not in list"):
        k_shot(replace(run, result=replace(run.result, curve=late)))


@pytest.mark.parametrize("method", ["nb-k-cma", "maml", "fine-tune"])
def test_every_episode_is_measured(quick_spec, method):
    spec = quick_spec(method=method, transfer_envs=1, eval_every=1, detail=False, target=TARGET, pretrain_episodes=2)
    if spec.meta is not None:
        spec = replace(spec, meta=replace(spec.meta, adapt_episodes=1))
    curve = experiment.execute(spec).curve
    assert np.diff(curve.steps).tolist() == [1000] * 4


def test_tables(made_up):
    other = {"A": 1.8}
    runs = [
        made_up(method, share, seed, target)
        for method, share in (("nb-k", 0.2), ("fine-tune", 0.1))
        for seed in range(100, 105)
        for target in (TARGET, other)
    ]
    overall, differences, first, second = tables(runs)
    assert overall.columns == ["method", "0", "1", "2", "seeds"]
    assert overall.rows[0] == [
        "`nb-k`", "0.000 [0.000, 0.000]", "0.200 [0.200, 0.200]", "0.400 [0.400, 0.400]", "5"
    ]  # fmt: skip
    assert [row[0] for row in differences.rows] == ["`nb-k`"]
    assert differences.rows[0][3] == "+0.200 [+0.200, +0.200]"
    assert "A = 1.8" in first.title
    assert "torque_gain = −1" in second.title
    for table in (overall, differences, first, second):
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert len(few_shot_pictures(runs)) == 2


def test_targets_of_a_seed_are_averaged_before_seeds_are_resampled(made_up):
    """Seeds that differ widely give a wide interval, however many targets repeat what their pretraining decides."""
    targets = [{"A": A} for A in (1.5, 1.6, 1.7, 1.8)]
    runs = [
        made_up("nb-k", share, seed, target)
        for seed, share in enumerate((0.0, 0.1, 0.2, 0.3, 0.4), start=100)
        for target in targets
    ]
    whole, one = (tables(each)[0].rows[0][2] for each in (runs, runs[::4]))
    low, high = map(float, re.fullmatch(r"0\.200 \[(.*), (.*)\]", whole).groups())
    assert high - low > 0.2  # of 20 independent runs it would be less
    assert whole == one


def test_the_answer_names_what_an_interval_tells(made_up, monkeypatch):
    shares = {"nb-k": 0.2, "nb-pro-k": 0.1, "fine-tune": 0.1, "scratch": 0.05, "maml": 0.3}
    runs = [
        made_up(method, share, seed)
        for method, share in shares.items()
        for seed in range(100, 105 if method != "maml" else 103)  # too few to tell
    ]
    assert answer(runs) is None  # five episodes would be one too many
    monkeypatch.setattr("benchmarks.questions.few_shot.tables.ANSWERS", (0, 2))
    rule = "each by whether the 95 % interval of its paired difference excludes zero, uncorrected for their number"
    verdict = answer(runs)
    assert verdict.text == "Score over 1 change of the pendulum after 2 episodes there: `nb-k` is above `fine-tune`."
    assert verdict.tone == "better"
    assert verdict.more == (
        "Normalised score after 2 episodes of pretraining and 0 of adaptation, interquartile mean over 1 change of the"
        f" pendulum: `nb-k`, `nb-pro-k`, `scratch` not told from `fine-tune` ({rule})."
        " Normalised score after 2 episodes of pretraining and 2 of adaptation, interquartile mean over 1 change of the"
        " pendulum: `nb-k` above `fine-tune`; `scratch` below `fine-tune`; `nb-pro-k` not told from `fine-tune`"
        f" ({rule})."
    )
    assert answer([run for run in runs if run.spec.method != "fine-tune"]) is None


def test_the_best_of_each_family_is_in_colour(made_up):
    shares = {"nb-k": 0.2, "nb-pro-k": 0.1, "fine-tune": 0.1, "scratch": 0.0, "maml": 0.1, "fomaml": 0.1}
    runs = [made_up(method, share, 100, target) for method, share in shares.items() for target in (TARGET, {"A": 1.8})]
    runs.append(made_up("reptile", 0.9))  # lacks a target, so that it is compared with none
    assert highlighted(runs) == ["nb-k", "fine-tune", "scratch", "maml", "fomaml"]
    overall, each = few_shot_pictures(runs)
    assert "MAML `maml`" in each.note
    assert "reptile" in each.alt
    note = tables(runs)[0].note
    assert "Meta-learners have one task to learn from, the source that all methods train on, A = 1." in note
    assert "Left out, for want of targets: `reptile` (A = 1.8)." in note
    assert [picture.title for picture in few_shot_pictures(runs[-1:])] == [overall.title, each.title]


def test_without_a_method_that_has_all_targets_there_is_no_overall_score(made_up):
    runs = [made_up("nb-k", 0.2), made_up("fine-tune", 0.1, target={"A": 1.8})]
    assert all(table.title.startswith("Return after") for table in tables(runs))
    assert len(few_shot_pictures(runs)) == 1


def test_a_seed_without_all_targets_is_left_out(made_up):
    runs = [made_up("nb-k", 0.2, seed, target) for seed in (100, 101) for target in (TARGET, {"A": 1.8})]
    assert tables(runs[:-1])[0].rows[0][-1] == "1"


def test_the_whole_job_and_going_on_with_it(tmp_path, monkeypatch, capsys):
    options = ["--seeds", "1", "--workers", "1", "--pretrain-episodes", "2", "--shots", "2", "--out", str(tmp_path)]
    options += ["--methods", "nb-k-cma", "fine-tune", "--targets", "A=1.8", "max_torque=1.2"]
    assert main(options) == 0
    runs = [line.content for line in read_lines(tmp_path)]
    assert len(runs) == 4
    assert json.loads((tmp_path / "job.json").read_text())["question"] == "few_shot"
    table = (tmp_path / "table.md").read_text()
    assert "max_torque = 1.2" in table
    assert all((tmp_path / f"{name}.png").exists() for name in ("few_shot", "few_shot_targets"))
    assert report([str(tmp_path)]) == 0
    assert (tmp_path / "table.md").read_text() == table
    monkeypatch.setattr(FewShot, "execute", None)
    assert main(options) == 0
    assert [line.content for line in read_lines(tmp_path)] == runs

    capsys.readouterr()
    with pytest.raises(SystemExit):  # runs of other budgets do not mix
        main([*options, "--shots", "3"])
    assert "transfer_episodes is 2 there and 3 here" in capsys.readouterr().err
    damaged = tmp_path / "nb-k-cma-ppo-seed100-0123456789ab.json"
    damaged.write_bytes(b"{")
    with pytest.raises(SystemExit):
        main(options)
    assert f"{damaged.name} is not a run" in capsys.readouterr().err
    assert damaged.read_bytes() == b"{"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "magic"], "invalid choice: 'magic'"),
        (["--methods", "randomised"], "invalid choice: 'randomised'"),
        (["--seeds", "0"], "--seeds: must be a whole number of at least 1"),
        (["--targets", "gravity=9.81"], "'gravity'"),
        (["--targets", "A=1.0:1.8"], "target must hold numbers"),
        (["--targets", "torque_gain=0"], "torque_gain must not be 0"),
        (["--shots", "2"], "transfer_episodes must pay for the inner steps, 5 episodes; got 2"),
    ],
)
def test_bad_options_are_named_and_nothing_is_made(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        main([*options, "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
