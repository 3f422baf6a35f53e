"""The committed tables are what the committed runs give, to the last byte."""

from pathlib import Path

import pytest

from benchmarks.questions import all_questions
from benchmarks.speed.report import read_speed
from nb_evaluation.question import Job
from nb_evaluation.reader import read_job

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
FOLDERS = sorted(path.parent.name for path in RESULTS.glob("*/job.json"))


@pytest.mark.parametrize("name", [*FOLDERS, "speed"])
def test_the_tables_of_a_folder(name: str) -> None:
    job = read_speed(RESULTS) if name == "speed" else read_job(RESULTS / name, all_questions())
    assert isinstance(job, Job)
    assert job.skipped == []
    assert job.markdown(job.question.tables(job.runs)) == job.file.read_text()
