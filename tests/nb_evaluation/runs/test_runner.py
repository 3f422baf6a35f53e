import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from benchmarks.protocol.run import Run
from nb_evaluation.runs.provenance import versions
from nb_evaluation.runs.runner import run_all
from tests.benchmarks.runs.kills import seconds_until_alone, session

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Question:
    """Another question than the transfer. Its run ends when the gate exists, and marks its start beside it."""

    name: str
    gate: Path = ROOT


@dataclass(frozen=True)
class Answer:
    spec: Question
    result: dict
    versions: dict
    commit: str | None
    wall_seconds: float
    cpu_seconds: float

    def write(self, folder):
        path = folder / f"{self.spec.name}.txt"
        with path.open("x") as file:  # fails if a run is written twice
            file.write(repr(self.result))
        return path


def answer(question):
    if question.gate != ROOT:
        with question.gate.with_name(f"{question.name}.started").open("a") as marks:
            marks.write("once\n")
    while not question.gate.exists():
        time.sleep(0.01)
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {"torch": torch.get_num_threads(), **threads}


def job(folder, gates):
    """Run what is not there yet, two at a time: three short runs, and two that wait."""
    names = {"a": "open", "b": "open", "c": "open", "d": "shut", "e": "shut"}
    specs = [Question(name, gates / gate) for name, gate in names.items() if not (folder / f"{name}.txt").exists()]
    for outcome in run_all(specs, folder, workers=2, experiment=answer, record=Answer):
        assert outcome.failure is None
        print(outcome.spec.name, flush=True)


def one_waits(folder):
    specs = [Question("a", folder / "open"), Question("d", folder / "shut")]
    for outcome in run_all(specs, folder, workers=2, experiment=answer, record=Answer):
        print(outcome.spec.name, flush=True)


def short(spec):
    """Stands in for `execute`; fails, or kills its worker, where the seed says so."""
    from benchmarks.protocol.results import Curve, RunResult

    if spec.seed == 13:
        raise ArithmeticError("seed 13 does not like to run")
    if spec.seed == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return RunResult(Curve([0, 2000, 6000], [0.0] * 3, [0.0] * 3), [1.0], [0.0] * 50, [0.0] * 50, 1, None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_run_is_reported_and_stops_no_other(quick_spec, tmp_path, workers):
    specs = [quick_spec(seed=seed) for seed in (12, 13, 14)]
    outcomes = {
        outcome.spec.seed: outcome
        for outcome in run_all(specs, tmp_path, workers=workers, experiment=short, record=Run)
    }
    assert sorted(outcomes) == [12, 13, 14]
    assert outcomes[13].run is None
    assert "Traceback" in outcomes[13].failure
    assert "ArithmeticError: seed 13 does not like to run" in outcomes[13].failure
    for seed in (12, 14):
        assert outcomes[seed].failure is None
        assert Run.read(tmp_path / f"{outcomes[seed].spec.name}.json") == outcomes[seed].run
    assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_worker_costs_only_its_own_run(quick_spec, tmp_path):
    specs = [quick_spec(seed=seed) for seed in (1, 99)]
    outcomes = {
        outcome.spec.seed: outcome for outcome in run_all(specs, tmp_path, workers=2, experiment=short, record=Run)
    }
    assert "worker process was killed" in outcomes.pop(99).failure
    assert outcomes.keys() == {1}
    assert outcomes[1].run == Run.read(tmp_path / f"{specs[0].name}.json")


def test_nothing_to_run(tmp_path):
    assert list(run_all([], tmp_path, workers=2, experiment=short, record=Run)) == []


def test_a_question_of_another_kind_with_one_thread_a_worker(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "3")
    specs = [Question("a"), Question("b"), Question("c")]
    outcomes = {
        outcome.spec: outcome.run for outcome in run_all(specs, tmp_path, workers=2, experiment=answer, record=Answer)
    }
    assert outcomes.keys() == set(specs)
    for spec, run in outcomes.items():
        assert run.spec == spec
        assert run.result == {"torch": 1, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        assert run.versions == versions()
        assert (tmp_path / f"{spec.name}.txt").read_text() == repr(run.result)


def test_one_torch_thread_in_this_process_too(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (outcome,) = run_all([Question("a")], tmp_path, workers=1, experiment=answer, record=Answer)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert outcome.run.result["torch"] == 1


def test_a_file_that_cannot_be_written_is_a_failed_run(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    specs = [Question("a"), Question("b")]
    outcomes = {
        outcome.spec.name: outcome for outcome in run_all(specs, tmp_path, workers=1, experiment=answer, record=Answer)
    }
    assert outcomes["a"].run is None
    assert "FileExistsError" in outcomes["a"].failure
    assert outcomes["b"].failure is None
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_a_job_killed_with_its_workers_loses_the_runs_in_flight_and_no_more(tmp_path):
    folder, gates = tmp_path / "out", tmp_path / "gates"
    folder.mkdir()
    gates.mkdir()
    (gates / "open").touch()
    code = f"from pathlib import Path; from {__name__} import job; job(Path({str(folder)!r}), Path({str(gates)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert sorted(process.stdout.readline() for _ in range(3)) == [b"a\n", b"b\n", b"c\n"]
        while len(list(gates.glob("*.started"))) < 5:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt", "c.txt"]
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    (gates / "shut").touch()
    job(folder, gates)
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.txt" for name in "abcde"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    starts = {path.stem: len(path.read_text().splitlines()) for path in gates.glob("*.started")}
    assert starts == {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_workers_of_a_killed_job_end_within_seconds(tmp_path, number):
    """One is busy and would be for ever, the other has nothing to do."""
    (tmp_path / "open").touch()
    code = f"from pathlib import Path; from {__name__} import one_waits; one_waits(Path({str(tmp_path)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout.readline() == b"a\n"
        while not (tmp_path / "d.started").exists():
            assert process.poll() is None
            time.sleep(0.01)
        assert len(session(process.pid)) >= 3
    finally:
        process.send_signal(number)
        process.wait()
        process.stdout.close()
    seconds_until_alone(process.pid)  # raises if they do not end
    assert not (tmp_path / "d.txt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"specs": [Question("a"), Question("b"), Question("a")]}, "different names, got a more than once"),
        ({"ray": "somewhere"}, "a Ray address is HOST:PORT, ray://HOST:PORT or auto; got 'somewhere'"),
    ],
)
def test_bad_arguments_are_named_before_anything_runs(tmp_path, changes, message):
    options = {"specs": [Question("a")], "folder": tmp_path, "workers": 1, "experiment": answer, "record": Answer}
    with pytest.raises(ValueError, match=message):
        run_all(**(options | changes))
    assert list(tmp_path.iterdir()) == []
