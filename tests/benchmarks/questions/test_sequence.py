import json

import numpy as np
import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.commands.report import main as report
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.settings import MetaSettings, PPOSettings
from benchmarks.questions.sequence.figures import sequence_pictures
from benchmarks.questions.sequence.life import execute_sequence
from benchmarks.questions.sequence.question import TaskSequence
from benchmarks.questions.sequence.runs import (
    STRATEGIES,
    SequenceResult,
    SequenceRun,
    SequenceSpec,
    specify_sequence,
)
from benchmarks.questions.sequence.scores import averages, forgetting, forward_transfer, on_return
from benchmarks.questions.sequence.tables import answer, tables
from nb_evaluation.runs.provenance import versions
from tests.benchmarks.tools import stored

TASKS = ({"A": 1.0}, {"A": 1.8}, {"A": 1.0, "torque_gain": -1.0})
QUICK = PPOSettings(n_epochs=1, net_arch=(16, 16))


def main(arguments):
    return benchmarks(["sequence", *arguments])


@pytest.fixture
def quick_sequence():
    def make(method, **changes):
        options = {"seed": 0, "settings": QUICK, "pretrain_episodes": 2, "transfer_episodes": 2, "tasks": TASKS}
        if method == "maml":
            options["meta"] = MetaSettings(inner_steps=1)
        return specify_sequence(method, **options | changes)

    return make


@pytest.fixture
def made_up(quick_sequence):
    """A run whose normalised scores are given, `(num_stages, num_tasks)`."""

    def make(scores, arrivals, **changes):
        spec = quick_sequence(**{"method": "fine-tune"} | changes)
        references = [anchor_returns(task) for task in spec.tasks]
        low = np.array([each["no torque"] for each in references])
        span = np.array([each["drive cancelled + PD"] for each in references]) - low
        returns = low + span * np.array(scores)
        met = [low[task] + span[task] * each for task, each in zip(spec.stages, arrivals, strict=True)]
        result = SequenceResult([float(each) for each in met], returns.tolist(), 2, 700)
        return SequenceRun(spec, result, versions(), "0123456789ab", 1.0, 1.0)

    return make


SCORES = [[0.5, 0, 0], [0.4, 0.8, 0], [0.1, 0.6, 0.9], [0.2, 0.7, 0.8], [0.9, 0.5, 0.3]]
ARRIVALS = [0.5, 0.1, 0.2, 0.6, 0.4]


def test_stages_go_there_and_back(quick_sequence):
    spec = quick_sequence("nb-k")
    assert spec.stages == (0, 1, 2, 1, 0)
    assert [spec.stage(i).target for i in range(5)] == [TASKS[i] for i in spec.stages]
    assert len({spec.stage(i).seed for i in range(5)}) == 5
    assert spec.stage(0).seed == spec.seed


def test_measures_by_hand(made_up):
    run = made_up(SCORES, ARRIVALS)
    expected = [0.5, 0.6, 1.6 / 3, 1.7 / 3, 1.7 / 3]
    assert averages(run) == pytest.approx(expected)
    assert forgetting(run, 2) == pytest.approx((0.5 - 0.1 + 0.8 - 0.6) / 2)
    assert forgetting(run, 4) == pytest.approx((0.8 - 0.5 + 0.9 - 0.3) / 2)
    assert on_return(run) == pytest.approx((0.6 + 0.4) / 2)
    assert forward_transfer(run) == pytest.approx((0.1 - 0.0 + 0.2 - 0.0) / 2)


@pytest.mark.parametrize("method", STRATEGIES)
def test_a_run_is_a_pure_function_of_its_specification(quick_sequence, method):
    spec = quick_sequence(method)
    first = execute_sequence(spec)
    np.random.seed(1)
    assert execute_sequence(spec) == first
    assert np.shape(first.returns) == (5, 3)


@pytest.mark.parametrize("method", ["nb-pro-k", "fine-tune-kept"])
def test_what_is_kept_is_not_forgotten(quick_sequence, method):
    """As a task returns, it has the score with which it was left, to the last bit; and in between, too."""
    result = execute_sequence(quick_sequence(method))
    returns = np.array(result.returns)
    assert result.arrivals[3] == returns[1, 1] == returns[2, 1]
    assert result.arrivals[4] == returns[0, 0] == returns[3, 0]
    assert returns[3, 1] != returns[2, 1]  # the stage has gone on with it


def test_one_network_forgets_and_maml_starts_again(quick_sequence):
    returns = np.array(execute_sequence(quick_sequence("fine-tune")).returns)
    assert (returns[1:] != returns[:-1]).all()
    maml = execute_sequence(quick_sequence("maml"))
    assert maml.arrivals[3] == maml.arrivals[1] == maml.returns[0][1]
    assert maml.returns[3][1] != maml.returns[1][1]  # other episodes


def test_a_battery_chooses_by_what_happens(quick_sequence):
    """A reversed actuator is known again, and the policy of a task is the chosen k-set's, to the last bit."""
    tasks = ({"A": 1.0}, {"A": 1.0, "torque_gain": -1.0}, {"A": 1.0, "b": 5.0})
    result = execute_sequence(quick_sequence("signed-k-nearest", tasks=tasks))
    returns = np.array(result.returns)
    assert result.chosen[:2] == [0, 0]  # there is one alone
    assert result.chosen[3:] == [1, 0]
    assert result.arrivals[3] == returns[1, 1] == returns[2, 1]
    told = execute_sequence(quick_sequence("signed-k-search", tasks=tasks))
    assert told.returns[1][:2] == result.returns[1][:2]
    assert told.chosen is None


def test_what_is_stored(quick_sequence):
    weights = (4 + 1) * 16 + (16 + 1) * 16 + (16 + 1)
    kept = {name: execute_sequence(quick_sequence(name)) for name in ("nb-k", "nb-pro-k", "fine-tune-kept", "maml")}
    assert {name: each.numbers_kept for name, each in kept.items()} == {
        "nb-k": 2, "nb-pro-k": 4, "fine-tune-kept": weights, "maml": 0,
    }  # fmt: skip
    assert kept["fine-tune-kept"].bytes_kept > 3 * 4 * weights > kept["nb-pro-k"].bytes_kept > 3 * 4 * 4
    assert kept["maml"].bytes_kept == 0


def test_run_files(made_up, tmp_path):
    run = made_up(SCORES, ARRIVALS)
    path = run.write(tmp_path)
    assert SequenceRun.read(path) == run
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="is not a run, or a damaged one"):
        SequenceRun.read(path)


def test_a_transfers_file_is_no_sequences(made_up_run, tmp_path):
    with pytest.raises(ValueError, match="is not a run, or a damaged one"):
        SequenceRun.read(made_up_run().write(tmp_path))


def test_tables(made_up):
    better = np.array(SCORES) + 0.1
    runs = [made_up(SCORES, ARRIVALS, seed=seed) for seed in range(5)]
    runs += [made_up(better, ARRIVALS, seed=seed, method="nb-k") for seed in range(5)]
    measured, kept, followed, compared = tables(runs)
    assert [row[0] for row in measured.rows] == ["`nb-k`", "`fine-tune`"]
    assert kept.rows[0][:3] == ["`nb-k`", "2", "233"]
    assert followed.rows[1][1:] == ["0.500", "0.600", "0.533", "0.567", "0.567"]
    assert compared.rows[0][1] == "+0.100 [+0.100, +0.100]"
    assert compared.rows[0][3] == "−0.100 [−0.100, −0.100]"  # met alike, by a source that was better
    assert compared.rows[0][4] == "+0.000 [+0.000, +0.000]"
    assert len({len(row) for row in measured.rows} | {len(measured.columns)}) == 1
    runs[0].result.chosen = [0, 0, 1, 1, 1]  # of stages 3 and 4 the first is right
    assert tables(runs)[2].rows == [["`fine-tune`", "1 of 1", "0 of 1"]]
    runs[0].result.chosen = None
    assert len(sequence_pictures(runs)) == 2
    what = "Average normalised score over 3 tasks, at the end of the sequence"
    assert answer(runs)[:2] == (f"{what}: `nb-k` is above `fine-tune`.", "better")
    assert answer(runs).more.startswith(f"{what}: `nb-k` above `fine-tune` (")
    assert answer(runs[:4] + runs[5:]) is None  # four pairs have no interval


def test_the_whole_job_and_going_on_with_it(tmp_path, monkeypatch, capsys):
    options = ["--seeds", "1", "--workers", "1", "--methods", "nb-k", "fine-tune", "--out", str(tmp_path)]
    options += ["--pretrain-episodes", "2", "--stage-episodes", "2"]
    assert main(options) == 0
    runs = stored(tmp_path)
    assert len(runs) == 2
    assert json.loads((tmp_path / "job.json").read_text())["question"] == "sequence"
    table = (tmp_path / "table.md").read_text()
    assert "Scores along the sequence" in table
    assert all((tmp_path / f"{name}.png").exists() for name in ("sequence", "sequence_tasks"))
    assert report([str(tmp_path)]) == 0
    assert (tmp_path / "table.md").read_text() == table
    monkeypatch.setattr(TaskSequence, "execute", None)
    assert main(options) == 0
    assert stored(tmp_path) == runs
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*options, "--stage-episodes", "4"])
    assert "transfer_episodes is 2 there and 4 here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "magic"], "invalid choice: 'magic'"),
        (["--seeds", "0"], "--seeds: must be a whole number of at least 1"),
        (["--stage-episodes", "3"], "transfer_episodes is a budget of 3,000 physics steps"),
        (["--stage-episodes", "2"], "transfer_episodes must pay for the inner steps"),
    ],
)
def test_bad_options_are_named_and_nothing_is_made(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        main([*options, "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_tasks_are_named():
    with pytest.raises(ValueError, match="tasks must be at least two"):
        SequenceSpec(method="nb-k", seed=0, tasks=({"A": 1.0},))
    with pytest.raises(TypeError, match="gravity"):
        specify_sequence("nb-k", seed=0, tasks=({"A": 1.0}, {"gravity": 9.81}, {"A": 1.8}))
    with pytest.raises(ValueError, match=r"method must be one of nb-k, .*; got 'magic'"):
        specify_sequence("magic", seed=0)
