"""The README is true: its example runs as printed, and every number in it is what the committed runs give."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.methods import METHODS
from benchmarks.protocol.anchors import PUBLISHED
from benchmarks.questions import all_questions
from benchmarks.questions.transfer.published import claim
from benchmarks.questions.transfer.tables import gains, gains_table, results_table
from nb_agents.policies.train_only import acting_parameters
from nb_evaluation.reader import read_folder
from nb_evaluation.runs.specification import FIRST_REPORTING_SEED

README = Path(__file__).parents[1] / "README.md"
NUMBER = r"(?<![A-Za-z\d])\d[\d,._]*"


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


@pytest.fixture(scope="module")
def runs() -> list[Any]:
    """The committed runs that the README speaks of."""
    (job,), _ = read_folder(README.parent / "benchmarks" / "results" / "transfer-ppo", all_questions())
    return list(job.runs)


@pytest.fixture(scope="module")
def measured(runs: list[Any]) -> dict[str, dict[str, str]]:
    """Cells of the table of results, by method and column."""
    table = results_table(runs)
    return {row[0].strip("`*"): dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_the_table_is_what_the_committed_runs_give(measured: dict[str, dict[str, str]]) -> None:
    rows = re.findall(r"^\| `([a-z-]+)`: [^|]+ \| (.+) \|$", README.read_text(), re.MULTILINE)
    assert 4 <= len(rows) <= 6
    for method, cells in rows:
        expected = [measured[method][name] for name in ("zero-shot", "final [95 % CI]", "numbers adapted")]
        assert cells.split(" | ") == expected, method
    finals = [float(measured[method]["final [95 % CI]"].split()[0].replace("−", "-")) for method, _ in rows]
    assert finals == sorted(finals, reverse=True)


def test_every_other_number_is_accounted_for(runs: list[Any], measured: dict[str, dict[str, str]]) -> None:
    """What the text says, in the words that it says it in; beyond that no digit is left."""
    spec, seeds = runs[0].spec, {run.spec.seed for run in runs}
    restored = [run for run in runs if run.result.source_restored is not None]
    same = sum(run.result.source_restored == run.summary.source_before for run in restored)
    said = {
        f"by changing {measured['nb-k']['numbers adapted']} or {measured['nb-pro-k']['numbers adapted']} numbers",
        f"A = 1.0 for {spec.pretrain_episodes} episodes and moves to A = 1.8 for {spec.transfer_episodes},",
        f"with {len(seeds)} seeds",
        f"no torque returns {measured['no torque']['final [95 % CI]']}.",
        f"by {PUBLISHED['NB Pro'].improvement:.0f} % does not hold",
        f"in {same} of {len(restored)} runs",
    }
    plain = ("A = 1.0", "A = 1.8", "Python 3.10 to 3.13", "2 cores", "95 % intervals")
    text = re.sub(
        r"^\|[^\n]*$|```python\n.*?```|\]\(.*?\)|<!--.*?-->", "", README.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"\s+", " ", text)
    for words in said:
        assert words in text
    for words in (*said, *plain):
        text = text.replace(words, "")
    assert not re.findall(NUMBER, text)


def test_the_verdict_is_what_the_committed_runs_give(runs: list[Any], measured: dict[str, dict[str, str]]) -> None:
    assert min(run.spec.seed for run in runs) >= FIRST_REPORTING_SEED, "tuning seeds are not for reporting"
    verdict = claim(runs)
    assert verdict is not None
    assert verdict.tone == "worse"
    against = gains(runs)
    assert against["nb-pro-k"].high < 0.0
    (improved,) = [row[1] for row in gains_table(runs).rows if row[0] == "`nb-pro-k`"]
    assert re.fullmatch(r"\+[\d.]+ \[\+[\d.]+, \+[\d.]+\]", improved)
    solving = {name for name, row in measured.items() if name in METHODS and float(row["final, normalised"]) > 0.997}
    weights = {name for name, row in measured.items() if row["numbers adapted"].startswith("4,")}
    assert solving == (weights - {"scratch"}) | {"head"}


def test_it_stays_short() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 80
    assert len(re.findall(NUMBER, text)) <= 60
