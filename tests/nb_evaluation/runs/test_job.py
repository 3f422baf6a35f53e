import errno
import os
import sys
import types
from pathlib import Path

import pytest

import benchmarks
from benchmarks.protocol.run import Run
from benchmarks.questions.transfer.question import Transfer, verdict
from nb_evaluation import files, job
from nb_evaluation.runs import runner
from nb_evaluation.runs.folder import PACK, read_lines


class TwoRuns(Transfer):
    """A job of a few runs in this process, of which seed 101 fails."""

    def __init__(self, specs, result, publish):
        self.specs, self.result, self.publish = specs, result, publish

    def add_options(self, parser):
        pass

    def specifications(self, options):
        return self.specs

    def execute(self, spec):
        if spec.seed == 101:
            raise ArithmeticError("[/data/x] is [bold]not[/] there, −1")
        return self.result

    def line(self, run):
        return "[/fine]"


@pytest.fixture
def make_question(made_up_run):
    def make(specs, publish=lambda job, console: None):
        return TwoRuns(specs, made_up_run().result, publish)

    return make


def run_job(question, arguments):
    return job.run_job(question, "python -m benchmarks transfer", arguments, Path("out"))


def arguments(folder):
    return ["--workers", "1", "--out", str(folder)]


def test_messages_and_names_are_shown_as_they_are(make_question, made_up_run, tmp_path, capsys):
    specs = [made_up_run(seed=seed).spec for seed in (100, 101)]
    folder = tmp_path / "[bold]"
    folder.mkdir()
    assert run_job(make_question(specs), arguments(folder)) == 1
    out = capsys.readouterr().out
    assert "[/fine]" in out
    assert out.count("ArithmeticError: [/data/x] is [bold]not[/] there") == 2
    assert {path.name for path in folder.iterdir()} == {PACK, "job.json"}


@pytest.mark.parametrize("place", ["/proc/folder", "/proc"])
def test_a_folder_that_takes_no_files_is_refused_before_the_first_run(make_question, made_up_run, place, capsys):
    question = make_question([made_up_run(seed=101).spec])
    with pytest.raises(SystemExit) as caught:
        run_job(question, arguments(place))
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert f"--out {place} cannot be written to" in captured.err
    assert "failed" not in captured.out


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_the_job(make_question, made_up_run, tmp_path, capsys, monkeypatch, number):
    specs = [made_up_run(seed=seed).spec for seed in (100, 101, 102)]
    question = make_question(specs)
    monkeypatch.setattr(runner, "check_writable", lambda folder: None)  # a byte still finds its place

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "replace", full)
    assert run_job(question, arguments(tmp_path)) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert f"takes no more files ({os.strerror(number)}). The same command goes on where this one stopped." in out
    assert "seed 101" not in out
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_stops_the_job_with_its_runs_kept(make_question, made_up_run, tmp_path, capsys):
    def report(job, console):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spec = made_up_run(seed=100).spec
    assert run_job(make_question([spec], report), arguments(tmp_path)) == 1
    assert "No space left on device" in capsys.readouterr().out
    (line,) = read_lines(tmp_path)
    assert Run.from_line(line.content, "it").spec == spec


def test_a_foreign_file_that_appears_meanwhile_stops_the_job_with_its_runs_kept(
    make_question, made_up_run, tmp_path, capsys, monkeypatch
):
    spec = made_up_run(seed=100).spec
    question = make_question([spec])
    execute = question.execute
    monkeypatch.setattr(question, "execute", lambda spec: (tmp_path / "notes.json").write_text("[]") and execute(spec))
    assert run_job(question, arguments(tmp_path)) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "notes.json is not a run (an object was expected, not list): move it elsewhere, or choose another" in out
    assert {path.name for path in tmp_path.iterdir()} == {f"{spec.name}.json", "notes.json"}
    (tmp_path / "notes.json").unlink()
    assert run_job(question, arguments(tmp_path)) == 0


def test_a_question_knows_the_package_that_it_is_from(make_question, monkeypatch):
    assert Transfer().code == Path(benchmarks.__file__).parent
    question = make_question([])
    assert question.code == Path(__file__).parents[2]
    script = types.ModuleType("script")
    monkeypatch.setitem(sys.modules, "script", script)
    monkeypatch.setattr(TwoRuns, "__module__", "script")
    assert question.code is None
    script.__file__ = __file__
    assert question.code == Path(__file__)


@pytest.mark.parametrize("damage", ["folder", "text"])
def test_what_is_no_run_file_is_named(make_question, made_up_run, tmp_path, capsys, damage):
    path = tmp_path / "some.json"
    path.mkdir() if damage == "folder" else path.write_text("[" * 100_000)
    with pytest.raises(SystemExit):
        run_job(make_question([made_up_run(seed=100).spec]), arguments(tmp_path))
    assert "some.json" in capsys.readouterr().err


def test_the_verdict_claims_what_the_seeds_carry(made_up_run):
    def runs(**finals):
        return [
            made_up_run(method=method.replace("_", "-"), seed=100 + i, final=final)
            for method, each in finals.items()
            for i, final in enumerate(each)
        ]

    one = verdict(runs(scratch=[-50.0]))
    assert one == "Best at A = 1.8: scratch with a return of −50.0 (no torque: −3,814)."
    few = verdict(runs(scratch=[-50.0, -60.0], fine_tune=[-10.0, -10.0]))
    assert few.startswith("Best at A = 1.8: fine-tune with a return of −10.0")
    assert few.endswith("; fewer than 5 seeds are too few to tell methods apart.")
    apart = verdict(runs(scratch=[-50.0] * 5, fine_tune=[-10.0] * 5))
    assert apart.endswith(", ahead of all others.")
    alike = verdict(runs(scratch=[-50.0] * 5, fine_tune=[-10.0] * 5, nb=[-9.0, -12.0, -9.0, -12.0, -10.0]))
    assert alike.endswith(", not told apart from nb.") or alike.endswith(", not told apart from fine-tune.")
