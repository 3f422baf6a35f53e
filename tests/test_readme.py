"""The README's example runs as printed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.questions import all_questions
from benchmarks.questions.transfer.tables import results_table
from nb_agents.policies.train_only import acting_parameters
from nb_evaluation.report.jobs import read_folder

COLUMNS = (
    "method",
    "zero-shot",
    "final [95 % CI]",
    "best training episode [95 % CI]",
    "source task before",
    "source task afterwards [95 % CI]",
    "numbers adapted",
)
README = Path(__file__).parents[1] / "README.md"


# More seeds by hand, with the returns: EXAMPLE_SEEDS=10 python -m pytest tests/test_readme.py -k example -rP
@pytest.mark.parametrize("seed", range(int(os.environ.get("EXAMPLE_SEEDS", "3"))))
def test_the_example_learns_with_the_gates_alone(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    before, after = code.replace("seed=0", f"seed={seed}").split("hard =")
    names: dict[str, Any] = {}
    exec(before, names)
    trained = {name: value.clone() for name, value in acting_parameters(names["model"].policy)}
    exec("hard =" + after, names)
    moved = names["moved"]
    assert moved.after > 0.5 * moved.before, "the cost is at least halved"
    unchanged = dict(acting_parameters(names["model"].policy))
    assert all(value.equal(unchanged[name]) for name, value in trained.items()), "the old k's are back"
    printed = capsys.readouterr().out
    print(printed)
    returns = [float(number) for number in re.findall(r"-\d+\.\d", printed)]
    assert returns == [round(moved.before, 1), round(moved.after, 1), round(moved.before, 1)]
    assert moved.n_trained == 10


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [link for link in links if not link.startswith("http") and not (README.parent / link).exists()]
    assert links
    assert not missing


def test_the_table_is_what_the_committed_runs_give() -> None:
    folder = README.parent / "benchmarks" / "results" / "transfer-ppo"
    (job,), _ = read_folder(folder, all_questions())
    runs = job.runs
    assert len({run.spec.seed for run in runs}) >= 10
    assert min(run.spec.seed for run in runs) >= 100, "tuning seeds are not for reporting"
    assert results_table(runs).select(COLUMNS).markdown() in README.read_text()
