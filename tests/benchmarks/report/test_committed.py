"""The committed tables are what the committed runs give, to the last byte, and the verdicts what the docs say."""

from functools import cache
from pathlib import Path

import pytest

from benchmarks.questions import all_questions
from benchmarks.speed.report import read_speed
from nb_evaluation.question import Job
from nb_evaluation.reader import read_job

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
FOLDERS = [*sorted(path.parent.name for path in RESULTS.glob("*/job.json")), "speed"]
TONES = {
    "transfer-ppo": "worse", "transfer-sac": "worse", "transfer-meta": "open", "ablation": "open",
    "few_shot": "worse", "few_shot-200": "same", "few_shot-meta": "open", "sequence": "better", "recipe": "same",
    "learning_parity": "same", "navigation": "better", "sign_flip": "better", "single_pass": "better",
    "robots": "better", "fleet": "same", "nearest": "worse", "pixels": "worse", "vision": "better", "speed": "open",
    "tune": None,
}  # fmt: skip
"""What docs/results.md says of each folder in words: change the words there with these."""


@cache
def read(name: str) -> Job:
    job = read_speed(RESULTS) if name == "speed" else read_job(RESULTS / name, all_questions())
    assert isinstance(job, Job)
    return job


@pytest.mark.parametrize("name", FOLDERS)
def test_the_tables_of_a_folder(name: str) -> None:
    job = read(name)
    assert job.skipped == []
    assert job.markdown(job.question.tables(job.runs)) == job.file.read_text()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_verdict_that_the_docs_repeat(name: str) -> None:
    verdict = read(name).question.answer(read(name).runs)
    assert (verdict and verdict.tone) == TONES[name]
