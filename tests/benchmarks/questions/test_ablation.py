import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.commands.report import main as report
from benchmarks.methods import METHODS
from benchmarks.protocol.run import Run
from benchmarks.questions.ablation.figures import ablation_pictures, draw_ablation
from benchmarks.questions.ablation.question import VARIANTS, Ablation
from benchmarks.questions.ablation.scores import PUBLISHED
from benchmarks.questions.ablation.tables import answer, tables
from tests.benchmarks.tools import stored

JOB = ["--seeds", "1", "--workers", "1", "--pretrain-episodes", "2", "--transfer-episodes", "4"]


def main(arguments):
    return benchmarks(["ablation", *arguments])


@pytest.fixture
def made_up(made_up_run):
    def make(method, best, final, seed=100):
        run = made_up_run(method=method, seed=seed, final=final)
        curve = replace(run.result.curve, target=[-4000.0, -900.0, final - 4.0, final + 4.0])  # zero-shot is the second
        result = replace(run.result, transfer_episodes=[best - 5.0, best], curve=curve)
        return Run(run.spec, result, run.versions, run.commit, 1.0, 1.0)

    return make


@pytest.fixture
def protocol(monkeypatch):
    """As if the runs had the paper's budget."""
    monkeypatch.setattr("benchmarks.questions.ablation.scores.is_published_protocol", lambda spec: True)


def test_variants_are_methods():
    assert set(PUBLISHED) < set(VARIANTS) < set(METHODS)


@pytest.mark.usefixtures("protocol")
def test_table_is_paired_by_seed(made_up):
    runs = [made_up("nb-pro", -100.0, -10.0, seed) for seed in range(100, 105)]
    runs += [made_up("nb-pro-no-k-target", -120.0, -13.0, seed) for seed in range(100, 105)]
    runs += [made_up("nb", -1.0, -1.0, 200)]  # a seed that nb-pro has not run
    (table,) = tables(runs)
    assert [row[0] for row in table.rows] == ["`nb-pro-no-k-target`"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["paper's metric, % [95 % CI]"] == "−20.0 [−20.0, −20.0]"
    assert row["as printed, %"] == "−11.4"
    assert row["seeds improved"] == "0 of 5"
    assert row["final return [95 % CI]"] == "−13.0 [−13.0, −13.0]"  # of the last evaluations, not of the last one
    assert row["difference of the final return [95 % CI]"] == "−3.0 [−3.0, −3.0]"
    (picture,) = ablation_pictures(runs)
    assert "Crosses" in picture.note
    verdict = answer(runs)
    assert verdict.text == "Of the variants that the paper says are worse, `nb-pro-no-k-target` is worse than `nb-pro`."
    assert verdict.tone == "better"
    assert verdict.more == (
        "`nb-pro-no-k-target` against `nb-pro` in the paper's metric and budget: −20.0 [−20.0, −20.0] % in the mean of"
        " 5 seeds, of which 0 improve; the paper printed −11.4 %."
    )


def test_printed_figures_stand_beside_the_published_budget_only(made_up):
    runs = [made_up(method, -100.0, -10.0) for method in ("nb-pro", "nb")]
    (table,) = tables(runs)
    assert dict(zip(table.columns, table.rows[0], strict=True))["as printed, %"] == ""
    assert answer(runs) is None
    assert "rosses" not in ablation_pictures(runs)[0].note + ablation_pictures(runs)[0].alt


def test_a_large_difference_does_not_hide_small_ones(made_up):
    """On the axis of the figure, −1 and −5 % lie further apart than a fiftieth of its width, beside −1,000 %."""
    best = {"nb-pro": -100.0, "nb": -101.0, "nb-pro-clamped": -105.0, "nb-pro-no-clipping": -1100.0}
    runs = [made_up(name, each, -10.0, seed) for name, each in best.items() for seed in range(100, 105)]
    axes = draw_ablation(runs).axes[0]
    places = [axes.transLimits.transform(axes.transScale.transform((x, 0.0)))[0] for x in (-1000.0, -5.0, -1.0, 0.0)]
    assert places[0] > 0.0
    assert min(np.diff(places)) > 0.02
    assert places[-1] < 1.0


def test_nothing_to_compare(made_up):
    assert tables([made_up("nb", -1.0, -1.0)]) == []
    assert ablation_pictures([made_up("nb", -1.0, -1.0)]) == []


def test_the_whole_job_and_going_on_with_it(tmp_path, monkeypatch):
    options = [*JOB, "--methods", "nb-pro-neutral", "--out", str(tmp_path)]
    assert main(options) == 0
    runs = stored(tmp_path)
    assert sorted(runs) == [("nb-pro", 100), ("nb-pro-neutral", 100)]
    assert json.loads((tmp_path / "job.json").read_text())["question"] == "ablation"
    table = (tmp_path / "table.md").read_text()
    assert "| `nb-pro-neutral` |" in table
    assert (tmp_path / "ablation.png").exists()
    assert report([str(tmp_path)]) == 0
    assert (tmp_path / "table.md").read_text() == table
    monkeypatch.setattr(Ablation, "execute", None)
    assert main(options) == 0
    assert stored(tmp_path) == runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "fine-tune"], "invalid choice: 'fine-tune'"),
        (["--seeds", "0"], "--seeds: must be a whole number of at least 1"),
        (["--transfer-episodes", "3"], "transfer_episodes is a budget of 3,000 physics steps"),
    ],
)
def test_bad_options_are_named_and_nothing_is_made(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        main([*options, "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_runs_of_a_transfer_do_not_mix_with_it(tmp_path, capsys, made_up_run):
    path = made_up_run().write(tmp_path)
    with pytest.raises(SystemExit):
        main([*JOB, "--out", str(tmp_path)])
    assert "holds runs of another specification" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
