"""What the report reads, and what it leaves out."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.commands.report import DEFAULT, MEASURED, main
from benchmarks.methods import METHODS
from benchmarks.protocol.run import Run
from benchmarks.questions import all_questions
from benchmarks.questions.transfer.question import Transfer
from nb_evaluation.job import run_job
from nb_evaluation.page import Section
from nb_evaluation.question import Job
from nb_evaluation.reader import read_folder
from nb_evaluation.runs.folder import JOB_FILE, write_job
from nb_evaluation.runs.provenance import versions

COMMAND = "python -m benchmarks transfer"


@pytest.fixture
def folder(made_up_run, tmp_path):
    """A job of three seeds of two methods."""
    folder = tmp_path / "results" / "job"
    folder.mkdir(parents=True)
    for method in ("nb", "fine-tune"):
        for seed in (100, 101, 102):
            made_up_run(method=method, seed=seed).write(folder)
    write_job(folder, "transfer", COMMAND)
    return folder


def read_job(folder):
    (job,), skipped = read_folder(folder, all_questions())
    assert skipped == []
    return job


def test_a_folder_of_jobs_and_a_job(folder):
    (job,), skipped = read_folder(folder.parent, all_questions())
    assert skipped == []
    assert (job.name, job.command, len(job.runs), job.skipped) == ("job", COMMAND, 6, [])
    assert read_job(folder).runs == job.runs


def test_damaged_and_half_written_files_are_left_out_by_name(folder):
    half, *_ = sorted(path for path in folder.glob("nb-*.json"))
    half.write_bytes(half.read_bytes()[:-20])
    (folder / ".nb-4711.tmp").write_bytes(b"{")  # goes when the next file is written there
    job = read_job(folder)
    assert len(job.runs) == 5
    (damaged,) = job.skipped
    assert damaged.name == half.name
    assert "it is not a run, or a damaged one" in damaged.reason
    assert str(folder) not in damaged.reason  # the page is the same wherever the folder lies


def test_runs_of_another_specification_or_other_versions_are_left_out(folder, made_up_run):
    other = made_up_run(method="nb", seed=103, target={"A": 1.5})
    other.write(folder)
    older = replace(made_up_run(method="nb", seed=104), versions=versions() | {"torch": "1.0"})
    older.write(folder)
    tuning = made_up_run(method="nb", seed=7)
    tuning.write(folder)
    job = read_job(folder)
    assert {run.spec.seed for run in job.runs} == {100, 101, 102}
    reasons = {skipped.name: skipped.reason for skipped in job.skipped}
    assert set(reasons) == {run.spec.name for run in (other, older, tuning)}
    assert "target.A is 1.5, not 1.8" in reasons[other.spec.name]
    assert "version of torch is 1.0, not" in reasons[older.spec.name]
    assert "seed 7 is for tuning" in reasons[tuning.spec.name]


def test_a_meta_learner_has_one_setting(folder, made_up_run):
    runs = [made_up_run(method="maml", seed=seed, pretrain_episodes=2) for seed in (100, 101)]
    odd = made_up_run(method="maml", seed=101, meta=replace(runs[0].spec.meta, inner_lr=0.5))
    for run in (*runs, odd):
        run.write(folder)
    job = read_job(folder)
    assert [run.spec for run in job.runs if run.spec.method == "maml"] == [run.spec for run in runs]
    (skipped,) = job.skipped
    assert skipped.name == odd.spec.name
    assert "meta is" in skipped.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no job.json"),
        (b"{", "job.json is damaged"),
        (b"[]", "job.json is damaged"),
        (b"{}", "job.json lacks 'question'"),
        (
            json.dumps({"question": "why", "command": "x"}).encode(),
            "names the question 'why'; known are transfer, abla",
        ),
    ],
)
def test_folders_that_are_no_jobs(folder, content, reason):
    (folder / JOB_FILE).unlink()
    if content is not None:
        (folder / JOB_FILE).write_bytes(content)
    jobs, (skipped,) = read_folder(folder.parent, all_questions())
    assert jobs == []
    assert skipped.name == "job"
    assert reason in skipped.reason


def test_a_job_without_runs(folder):
    for path in folder.glob("*-ppo-*.json"):
        path.write_bytes(b"")
    jobs, (skipped,) = read_folder(folder.parent, all_questions())
    assert jobs == []
    assert "no run can be reported" in skipped.reason
    assert "is not a run" in skipped.reason


def test_where_nothing_can_be_reported_nothing_is_written(folder, capsys):
    (folder / JOB_FILE).unlink()
    (folder / "table.md").write_text("mine")
    for argument, message in (
        (folder.parent, "holds no job that can be reported"),
        (folder.parent / "nowhere", "nowhere is not a folder"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([str(argument)])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    assert (folder / "table.md").read_text() == "mine"
    assert not (folder.parent / "index.html").exists()


def test_a_figure_that_fails_leaves_all_files_as_they_were(folder, monkeypatch):
    (folder / "table.md").write_text("mine")

    def fail(*_):
        raise ArithmeticError("not today")

    monkeypatch.setattr("benchmarks.questions.transfer.question.picture_of_curves", fail)
    with pytest.raises(ArithmeticError):
        main([str(folder)])
    assert (folder / "table.md").read_text() == "mine"
    assert not (folder / "index.html").exists()


def test_a_script_reports_all_runs_of_the_folder(folder):
    """`table.md` is the same, whether the script or the report writes it: other seeds, methods and commands included.

    The folder has runs of other methods than the command asks for, and the remains of a file, which go.
    """
    runs = [*folder.glob("fine-tune-*seed100*.json"), *folder.glob("nb-*.json")]
    (folder / ".nb-4711.tmp").write_bytes(b"{")

    spec = Run.read(runs[0]).spec

    class OneRun(Transfer):
        def add_options(self, parser):
            pass

        def specifications(self, options):
            return [spec]

        def publish(self, job, console):
            self.write_tables(job)

    assert run_job(OneRun(), COMMAND, ["--out", str(folder)], folder) == 0
    table = (folder / "table.md").read_text()
    assert f"`{COMMAND} && python -m benchmarks transfer --out {folder}`" in table
    assert "| `nb` |" in table
    assert not (folder / ".nb-4711.tmp").exists()
    assert main([str(folder)]) == 0
    assert (folder / "table.md").read_text() == table


def test_a_few_shot_jobs_runs_differ_by_target_and_by_nothing_else(made_up_run, tmp_path):
    options = {"transfer_envs": 1, "eval_every": 1, "detail": False}
    runs = [
        made_up_run(method=method, seed=seed, target=target, **options)
        for method in ("nb-k", "fine-tune")
        for seed in (100, 101)
        for target in ({"A": 1.8}, {"A": 1.0, "torque_gain": -1.0})
    ]
    foreign = made_up_run(method="nb", seed=100)  # a transfer's
    for run in (*runs, foreign):
        run.write(tmp_path)
    write_job(tmp_path, "few_shot", "python -m benchmarks few-shot")
    job = read_job(tmp_path)
    assert len(job.runs) == len(runs)
    (skipped,) = job.skipped
    assert skipped.name == foreign.spec.name
    assert "detail is True, not False" in skipped.reason


def test_foreign_and_damaged_files_among_runs_of_a_sequence(made_up_sequence, made_up_run, tmp_path):
    runs = [made_up_sequence(method=method, seed=100) for method in ("nb-k", "fine-tune-kept")]
    foreign, damaged = made_up_run(seed=100).write(tmp_path), tmp_path / "nb-k-ppo-seed101-0123456789ab.json"
    for run in runs:
        run.write(tmp_path)
    damaged.write_bytes(b"{")
    write_job(tmp_path, "sequence", "python -m benchmarks sequence")
    job = read_job(tmp_path)
    assert sorted(run.spec.method for run in job.runs) == ["fine-tune-kept", "nb-k"]
    assert {each.name for each in job.skipped} == {foreign.name, damaged.name}
    assert all("is not a run" in each.reason for each in job.skipped)


def test_runs_of_a_method_that_is_not_known_are_left_out(folder, made_up_run, monkeypatch):
    made_up_run(method="nb-pro-clamped", seed=100).write(folder)
    known = {name: METHODS[name] for name in ("nb", "fine-tune")}
    monkeypatch.setattr(Transfer, "methods", known)
    (skipped,) = read_job(folder).skipped
    assert skipped.reason == "its method is nb-pro-clamped; known are nb, fine-tune"


def test_an_ablation_without_nb_pro_has_nothing_to_compare(made_up_run, tmp_path):
    made_up_run(method="nb", seed=100, detail=False).write(tmp_path)
    write_job(tmp_path, "ablation", "python -m benchmarks ablation")
    assert main([str(tmp_path)]) == 0
    assert "The runs give no table yet." in (tmp_path / "index.html").read_text()


def test_figures_beside_the_runs_say_how_they_are_read(made_up_run, tmp_path, monkeypatch):
    for method in ("nb-pro", "nb"):
        made_up_run(method=method, seed=100, detail=False).write(tmp_path)
    write_job(tmp_path, "ablation", "python -m benchmarks ablation")
    job, saved = read_job(tmp_path), {}
    monkeypatch.setattr("nb_evaluation.question.save_png", lambda figure, path, text: saved.update({path: text}))
    job.question.publish(job, Console(quiet=True))
    assert list(saved) == [tmp_path / "ablation.png"]
    (text,) = saved.values()
    assert text.startswith("NB Pro with one thing changed. Left of 0 the variant is worse than `nb-pro`")
    assert text.endswith(job.caption)


def test_tables_name_what_was_left_out_and_what_is_missing(folder):
    """In `table.md`, as on the page."""
    next(folder.glob("nb-*seed101*.json")).write_bytes(b"{")
    job = read_job(folder)
    markdown = Section(job, "", job.question.tables(job.runs), []).markdown
    assert "`nb` lacks 1 seed (101)." in markdown
    assert "Not run: `nb-pro`, `nb-k`," in markdown
    assert markdown.splitlines()[-1].startswith("Left out: `nb-ppo-seed101-")


def test_committed_tables_are_what_the_committed_runs_give():
    jobs, skipped = read_folder(DEFAULT, all_questions(), elsewhere=["speed", *MEASURED])
    assert skipped == []
    for job in jobs:
        assert isinstance(job, Job)
        assert job.skipped == []
        markdown = Section(job, "", job.question.tables(job.runs), []).markdown
        assert markdown == (job.folder / "table.md").read_text()
