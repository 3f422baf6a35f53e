"""What the report reads, and what it leaves out."""

import json
from dataclasses import replace

import pytest

from benchmarks.records import JOB_FILE, versions, write_job
from benchmarks.report.__main__ import DEFAULT, main
from benchmarks.report.folders import Job, Skipped, read_folder
from benchmarks.report.page import Section

COMMAND = "python -m benchmarks.transfer"


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
    (job,), skipped = read_folder(folder)
    assert skipped == []
    return job


def test_a_folder_of_jobs_and_a_job(folder):
    (job,), skipped = read_folder(folder.parent)
    assert skipped == []
    assert (job.name, job.command, len(job.runs), job.skipped) == ("job", COMMAND, 6, [])
    assert read_job(folder).runs == job.runs


def test_damaged_and_half_written_files_are_left_out_by_name(folder):
    whole, half, *_ = sorted(path for path in folder.glob("nb-*.json"))
    half.write_bytes(half.read_bytes()[:-20])
    (folder / f".{whole.name}.4711").write_bytes(b"{")
    job = read_job(folder)
    assert len(job.runs) == 5
    left, damaged = job.skipped
    assert left == Skipped(f".{whole.name}.4711", "left by a run that ended while it wrote its file")
    assert damaged.name == half.name
    assert "it is not a run file, or a damaged one" in damaged.reason
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
    assert set(reasons) == {f"{run.spec.name}.json" for run in (other, older, tuning)}
    assert "target.A is 1.5, not 1.8" in reasons[f"{other.spec.name}.json"]
    assert "version of torch is 1.0, not" in reasons[f"{older.spec.name}.json"]
    assert "seed 7 is for tuning" in reasons[f"{tuning.spec.name}.json"]


def test_a_meta_learner_has_one_setting(folder, made_up_run):
    runs = [made_up_run(method="maml", seed=seed, pretrain_episodes=2) for seed in (100, 101)]
    odd = made_up_run(method="maml", seed=101, meta=replace(runs[0].spec.meta, inner_lr=0.5))
    for run in (*runs, odd):
        run.write(folder)
    job = read_job(folder)
    assert [run.spec for run in job.runs if run.spec.method == "maml"] == [run.spec for run in runs]
    (skipped,) = job.skipped
    assert skipped.name == f"{odd.spec.name}.json"
    assert "meta is" in skipped.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no job.json"),
        (b"{", "job.json is damaged"),
        (b"[]", "job.json is damaged"),
        (b"{}", "job.json lacks 'question'"),
        (json.dumps({"question": "why", "command": "x"}).encode(), "names the question 'why'; known are transfer"),
    ],
)
def test_folders_that_are_no_jobs(folder, content, reason):
    (folder / JOB_FILE).unlink()
    if content is not None:
        (folder / JOB_FILE).write_bytes(content)
    jobs, (skipped,) = read_folder(folder.parent)
    assert jobs == []
    assert skipped.name == "job"
    assert reason in skipped.reason


def test_a_job_without_runs(folder):
    for path in folder.glob("*-ppo-*.json"):
        path.write_bytes(b"")
    jobs, (skipped,) = read_folder(folder.parent)
    assert jobs == []
    assert "no run can be reported" in skipped.reason
    assert "is not a run file" in skipped.reason


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

    monkeypatch.setattr("benchmarks.report.transfer_page.picture_of_curves", fail)
    with pytest.raises(ArithmeticError):
        main([str(folder)])
    assert (folder / "table.md").read_text() == "mine"
    assert not (folder / "index.html").exists()


def test_tables_name_what_was_left_out_and_what_is_missing(folder):
    """In `table.md`, as on the page."""
    next(folder.glob("nb-*seed101*.json")).write_bytes(b"{")
    job = read_job(folder)
    markdown = Section(job, "", job.question.tables(job.runs), []).markdown
    assert "`nb` lacks 1 seed (101)." in markdown
    assert "Not run: `nb-pro`, `nb-k`," in markdown
    assert markdown.splitlines()[-1].startswith("Left out: `nb-ppo-seed101-")


def test_committed_tables_are_what_the_committed_runs_give():
    jobs, _ = read_folder(DEFAULT)
    for job in jobs:
        assert isinstance(job, Job)
        assert job.skipped == []
        markdown = Section(job, "", job.question.tables(job.runs), []).markdown
        assert markdown == (job.folder / "table.md").read_text()
