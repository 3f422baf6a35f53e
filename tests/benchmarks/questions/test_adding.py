"""What docs/contributing says of adding a method and a question, done in a copy of the package."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONTRIBUTING = ROOT / "docs" / "contributing"


@pytest.fixture
def copy(tmp_path):
    """A folder with a copy of `benchmarks`, which is imported from there."""
    ignored = shutil.ignore_patterns("results", "out", "__pycache__")
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=ignored)
    return tmp_path


def benchmarks(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_method_is_one_file_and_appears_in_tables_curves_scores_and_page(copy):
    shutil.copy(CONTRIBUTING / "method.py", copy / "benchmarks" / "methods" / "last_two.py")
    budget = ["--seeds", "1", "--workers", "1", "--pretrain-episodes", "2", "--transfer-episodes", "4"]
    out = benchmarks(copy, "transfer", "--methods", "fine-tune", "last-two", *budget, "--out", "out/job")
    assert "last-two   seed 100" in out
    rows = [line for line in (copy / "out/job/table.md").read_text().splitlines() if line.startswith("| `last-two`")]
    assert len(rows) >= 5  # returns, speed, costs, against fine-tuning, gains
    numbers_adapted = 4545 - (4 + 1) * 64  # everything that acts but the first layer
    assert any(f"| {numbers_adapted:,} |" in row for row in rows)
    benchmarks(copy, "report", "out")
    page = (copy / "out/index.html").read_text()
    alts = [part.split('"')[0] for part in page.split(' alt="')[1:]]
    for figure in ("a line for each of", "95 % interval", "one mark per seed", "may change", "A heat map"):
        assert any(figure in alt and "last-two" in alt for alt in alts), figure
    assert "last-two" in benchmarks(copy, "transfer", "--help")
    assert "last-two" in benchmarks(copy, "few-shot", "--help")


def test_a_question_is_one_folder_and_one_line(copy):
    questions = copy / "benchmarks" / "questions"
    shutil.copytree(CONTRIBUTING / "question", questions / "hold")
    registry = questions / "__init__.py"
    text = registry.read_text()
    assert '    "transfer",\n' in text
    registry.write_text(text.replace('    "transfer",\n', '    "transfer",\n    "hold",\n'))
    assert "hold" in benchmarks(copy, "--help")
    benchmarks(copy, "hold", "--seeds", "5", "--workers", "1", "--out", "out/hold")
    assert "| `pd` | −15.1 [−15.7, −14.0] | 5 |" in (copy / "out/hold/table.md").read_text()
    assert (copy / "out/hold/hold.png").exists()
    assert ["none", "104"] in [line.split()[:2] for line in benchmarks(copy, "show", "out/hold").splitlines()]
    benchmarks(copy, "report", "out")
    assert "Hold: reference controllers on one pendulum" in (copy / "out/index.html").read_text()
