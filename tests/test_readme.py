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
from benchmarks.questions.robots.tables import robots_answer, robots_tables
from benchmarks.questions.single_pass.scores import SUBJECT
from benchmarks.questions.single_pass.tables import single_pass_answer, single_pass_tables
from benchmarks.questions.transfer.published import claim
from benchmarks.questions.transfer.tables import gains, results_table
from nb_agents.policies.train_only import acting_parameters
from nb_evaluation.reader import read_folder
from nb_evaluation.report.tables import Table
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


def committed(folder: str) -> list[Any]:
    """The committed runs of a folder."""
    (job,), _ = read_folder(README.parent / "benchmarks" / "results" / folder, all_questions())
    return list(job.runs)


def by_row(table: Table) -> dict[str, dict[str, str]]:
    """Cells by row and column."""
    return {row[0].strip("`*"): dict(zip(table.columns, row, strict=True)) for row in table.rows}


@pytest.fixture(scope="module")
def transfers() -> list[Any]:
    return committed("transfer-ppo")


@pytest.fixture(scope="module")
def first_episodes() -> list[Any]:
    return committed("single_pass")


@pytest.fixture(scope="module")
def single_pass(first_episodes: list[Any]) -> dict[str, dict[str, dict[str, str]]]:
    """What the tables of hidden actuators and drives say, by the end of a table's title."""
    tables = [table for table in single_pass_tables(first_episodes) if table.title.startswith("Family M, ")]
    costs = single_pass_tables(first_episodes)[-1]
    return {table.title.rpartition(": ")[2]: by_row(table) for table in [*tables, costs]}


def test_the_table_is_what_the_committed_runs_give(single_pass: dict[str, dict[str, dict[str, str]]]) -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)`: [^|]+ \| (.+) \|$", README.read_text(), re.MULTILINE)
    assert 4 <= len(rows) <= 6
    first, costs = single_pass["first episode"], single_pass["What adapting costs"]
    for name, cells in rows:
        assert cells.split(" | ") == [first[name]["in range"], costs[name]["episodes there before"]], name
    returns = [float(first[name]["in range"].split()[0].replace("−", "-")) for name, _ in rows]
    assert returns == sorted(returns, reverse=True)
    assert rows[0][0] == SUBJECT


def test_every_other_number_is_accounted_for(
    transfers: list[Any], first_episodes: list[Any], single_pass: dict[str, dict[str, dict[str, str]]]
) -> None:
    """What the text says, in the words that it says it in; beyond that no digit is left."""
    restored = [run for run in transfers if run.result.source_restored is not None]
    same = sum(run.result.source_restored == run.summary.source_before for run in restored)
    less, costs = single_pass[f"`{SUBJECT}` less the others"], single_pass["What adapting costs"]
    metric = single_pass["the paper's metric"]["MAML, its first five episodes and one more"]
    said = {
        f"by {costs['signed-layer']['numbers per context']} or {costs[SUBJECT]['numbers per context']} numbers",
        f"over {len({run.spec.seed for run in first_episodes})} seeds",
        f"by {PUBLISHED['NB Pro'].improvement:.0f} % does not hold",
        f"in {same} of {len(restored)} runs",
        f"by {less['maml-5']['in range']}",
        f"by {less['numbers-student']['in range']}",
        f"by {metric['in range: improvement, %'].split(' ')[0]} %, in {metric['in range: seeds improved']} seeds",
        *said_of_robots(),
    }
    plain = ("A = 1.0", "A = 1.8", "Python 3.10 to 3.13", "2 cores", "gravity=-15")
    text = re.sub(
        r"^\|[^\n]*$|```python\n.*?```|\]\(.*?\)|<!--.*?-->", "", README.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"\s+", " ", text)
    for words in said:
        assert words in text
    for words in (*said, *plain):
        text = text.replace(words, "")
    assert not re.findall(NUMBER, text)


def said_of_robots() -> set[str]:
    """What the README says of the half-cheetah."""
    runs = committed("robots")
    answer = robots_answer(runs)
    assert answer is not None
    (won,) = re.findall(r"(\d) of 4 changes", answer.text)
    (inverted,) = (table for table in robots_tables(runs) if table.title == "HalfCheetah, `inverted_actions`: returns")
    rows = {name: row["in the end"].split(" ")[0] for name, row in by_row(inverted).items()}
    return {
        f"first 25 in {won} of 4 changes",
        f"it returns {rows['retrofit-turned']}, and the same training without gates {rows['randomised-source']}.",
        f"for 25 episodes return {rows['nb-k-cma']} there",
        f"searched alike, {rows['scale-cma']}.",
    }


def test_the_verdict_is_what_the_committed_runs_give(transfers: list[Any], first_episodes: list[Any]) -> None:
    assert min(run.spec.seed for run in [*transfers, *first_episodes]) >= FIRST_REPORTING_SEED
    verdict = claim(transfers)
    assert verdict is not None
    assert verdict.tone == "worse"
    assert gains(transfers)["nb-pro-k"].high < 0.0
    measured = by_row(results_table(transfers))
    solving = {name for name, row in measured.items() if name in METHODS and float(row["final, normalised"]) > 0.997}
    weights = {name for name, row in measured.items() if row["numbers adapted"].startswith("4,")}
    assert solving == (weights - {"scratch"}) | {"head"}
    answer = single_pass_answer(first_episodes)
    assert answer is not None
    assert answer.tone == "better"


def test_it_stays_short() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 80
    assert len(re.findall(NUMBER, text)) <= 60
