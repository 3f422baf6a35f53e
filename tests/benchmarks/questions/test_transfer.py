import json
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.questions.transfer.question import Transfer
from benchmarks.runs.experiment import execute
from nb_evaluation.runs.folder import PACK
from tests.benchmarks.tools import drop, parse, stored

TINY = ["--seeds", "1", "--pretrain-episodes", "2", "--transfer-episodes", "4", "--workers", "1"]


def main(arguments):
    return benchmarks(["transfer", *arguments])


def job(folder, *options):
    return [*TINY, "--out", str(folder), *options]


def test_the_whole_job_and_going_on_with_it(tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(job(folder, "--methods", "nb-pro-k", "scratch")) == 0
    runs = stored(folder)
    assert sorted(runs) == [("nb-pro-k", 100), ("scratch", 100)]
    assert {path.name for path in folder.iterdir()} == {PACK, "job.json", "table.md", "curves.png", "transfer.gif"}
    table = (folder / "table.md").read_text()
    assert "| `nb-pro-k` |" in table
    assert "python -m benchmarks transfer --seeds 1" in table
    assert "Return at A = 1.8" in capsys.readouterr().out

    drop(folder, "nb-pro-k")
    assert main(job(folder, "--methods", "nb-pro-k", "scratch")) == 0
    again = stored(folder)
    assert again["scratch", 100] == runs["scratch", 100]  # was finished, stayed as it was
    result, before = (json.loads(each["nb-pro-k", 100])["result"] for each in (again, runs))
    assert result == before  # and the same run gives the same numbers
    out = capsys.readouterr().out
    assert "nb-pro-k   seed 100" in out
    assert "scratch    seed 100" not in out


def test_a_killed_job_goes_on_where_it_stopped(tmp_path):
    options = job(tmp_path, "--methods", "scratch", "fine-tune", "--transfer-episodes", "20")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "transfer", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (finished := stored(tmp_path)):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "table.md").exists()
    assert main(options) == 0
    after = stored(tmp_path)
    assert {key: after[key] for key in finished} == finished
    assert len(after) == 2
    assert (tmp_path / "table.md").exists()


def test_a_failed_run_is_shown_and_the_others_reported(tmp_path, capsys, monkeypatch):
    def fail_on_scratch(self, spec):
        if spec.method == "scratch":
            raise ArithmeticError("not today")
        return execute(spec)

    monkeypatch.setattr(Transfer, "execute", fail_on_scratch)
    assert main(job(tmp_path, "--methods", "scratch", "fine-tune")) == 1
    out = capsys.readouterr().out
    assert "ArithmeticError: not today" in out
    assert "Traceback" in out
    assert "| `fine-tune` |" in (tmp_path / "table.md").read_text()


def test_a_folder_with_runs_of_another_specification(tmp_path, capsys, made_up_run):
    path = made_up_run().write(tmp_path)
    with pytest.raises(SystemExit):
        main(job(tmp_path))
    assert "holds runs of another specification" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "magic"], "invalid choice: 'magic'"),
        (["--algo", "dqn"], "invalid choice: 'dqn'"),
        (["--seeds", "0"], "--seeds: must be a whole number of at least 1, got '0'"),
        (["--seeds", "-5"], "--seeds: must be a whole number of at least 1, got '-5'"),
        (["--workers", "two"], "--workers: must be a whole number of at least 1, got 'two'"),
        (["--transfer-episodes", "0"], "--transfer-episodes: must be a whole number of at least 1"),
        (["--pretrain-episodes", "11"], "pretrain_episodes is a budget of 11,000 physics steps"),
        (["--target", "A"], "a context is written NAME=NUMBER, as in A=1.8, or NAME=LOW:HIGH for a range; got 'A'"),
        (["--target", "gravity=9.81"], "'gravity'"),
        (["--source", "b=-1"], "b must be at least 0, got -1.0"),
        (["--target", "A=1.8", "torque_gain=0"], "torque_gain must not be 0"),
        (["--algo", "sac", "--pretrain-episodes", "1"], "pretrain_episodes is 1, of 2 side by side"),
    ],
)
def test_bad_options_are_named_and_nothing_is_made(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        main(job(tmp_path / "out", *options))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(SystemExit):
            main(job(folder))
        assert "cannot be a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_help_names_every_method_and_default(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for text in ("nb-pro-k", "only k adapts", "default: 5", "default: 50", "default: 100", "A=1.8", "benchmarks/out"):
        assert text in out


@pytest.mark.parametrize(("algo", "others"), [("ppo", ["maml", "fomaml", "reptile", "anil"]), ("sac", [])])
def test_all_methods_are_those_that_the_algorithm_has(algo, others):
    options = parse(Transfer(), "--methods", "all", "scratch", "--seeds", "1", "--algo", algo)
    methods = [spec.method for spec in Transfer().specifications(options)]
    gates = ["nb", "nb-pro", "nb-k", "nb-pro-k"]
    assert methods == [*gates, "fine-tune", "fine-tune-folded", "head", "scratch", "randomised", *others]
