"""Results of earlier versions are refused by name, and left as they are."""

import json

import pytest

from benchmarks.__main__ import main
from benchmarks.questions import all_questions
from nb_evaluation.question import Skipped
from nb_evaluation.reader import read_folder
from nb_evaluation.runs.earlier import MADE_EARLIER, earlier_files
from nb_evaluation.runs.folder import write_job
from nb_evaluation.seal import seal

MADE = {"versions": {"torch": "2.0"}, "commit": "0123456789ab"}
REPORT = json.dumps({"summary": {}, "runs": [], **MADE})
ROW = seal({**MADE, "machine": {}, "row": "untrained nb", "specification": {}, "final": [1.0]}, indent=1).decode()
TRIALS = "".join(seal({"trial": i, "objective": -1.0, "final": {}, "settings": {}}).decode() + "\n" for i in range(2))
FILES = {
    "recipe/untrained-nb.json": ROW,
    "recipe/tuning.json": seal({"seeds": 4, "note": "", "trials": []}).decode(),
    "learning_parity/runs.json": seal({**MADE, "gates": {}, "steps": {}, "runs": []}, indent=1).decode(),
    "navigation/maml-100.json": seal({"origin": {}, "commit": None, "result": {}}).decode(),
    "navigation.json": REPORT,
    "sign_flip.json": REPORT,
    "tune-ppo.jsonl": TRIALS,
}
"""A file of each form that an earlier version has left."""


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["transfer", "tune", "recipe", "navigation", "sign-flip", "learning-parity"])
def test_a_folder_of_theirs_is_refused_before_anything_runs(name, command, tmp_path, capsys):
    path = tmp_path / name.rpartition("/")[2]
    path.write_text(FILES[name])
    with pytest.raises(SystemExit, match="2"):
        main([command, "--out", str(tmp_path)])
    captured = capsys.readouterr()
    assert f"{tmp_path}: {path.name} {MADE_EARLIER}: choose another --out" in " ".join(captured.err.split())
    assert captured.out == ""
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(path, FILES[name])]


@pytest.fixture
def results(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_report_names_them(results, made_up_run, capsys):
    job = results / "job"
    job.mkdir()
    made_up_run(seed=100).write(job)
    write_job(job, "transfer", "command")
    (job / "tune-sac.jsonl").write_text(TRIALS)
    ((read,), skipped) = read_folder(results, all_questions())
    assert read.skipped == [Skipped("tune-sac.jsonl", MADE_EARLIER)]
    assert skipped == [
        ("learning_parity", f"has no job.json: runs.json {MADE_EARLIER}"),
        ("navigation", f"has no job.json: maml-100.json {MADE_EARLIER}"),
        ("recipe", f"has no job.json: tuning.json, and 1 more like it, {MADE_EARLIER}"),
        *((name, MADE_EARLIER) for name in ("navigation.json", "sign_flip.json", "tune-ppo.jsonl")),
    ]
    assert main(["report", str(results)]) == 0
    assert f"left out: tune-ppo.jsonl {MADE_EARLIER}" in capsys.readouterr().err
    assert {name: (results / name).read_text() for name in FILES} == FILES


def test_what_is_damaged_or_of_today_is_not_theirs(results, made_up_run):
    for name, text in FILES.items():
        (results / name).write_text(text[:-9])
    made_up_run().write(results)
    (results / "maml.json").write_bytes(seal({**MADE, "machine": {}, "part": "maml", "command": "", "rows": []}))
    (results / "folder.json").mkdir()
    assert earlier_files(results) == [results / "tune-ppo.jsonl"], "whose first line is whole"
