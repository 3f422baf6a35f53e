"""The README's example runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stable_baselines3 import PPO

from benchmarks.records import Run
from benchmarks.report import results_table

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


def test_the_example_runs_and_moves_nothing_but_the_gates(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    before, after = code.split("model.policy.adapt")
    names: dict[str, PPO] = {}
    exec(before, names)
    actor = {k: v.clone() for k, v in names["model"].policy.state_dict().items() if "value" not in k}
    exec("model.policy.adapt" + after, names)
    moved = {k for k, v in names["model"].policy.state_dict().items() if k in actor and not actor[k].equal(v)}
    assert {k for k in moved if "extra_state" not in k} == {
        "mlp_extractor.policy_net.1.k",
        "mlp_extractor.policy_net.3.k",
    }
    assert len(re.findall(r"-?\d+\.\d+", capsys.readouterr().out)) == 10


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [link for link in links if not link.startswith("http") and not (README.parent / link).exists()]
    assert links
    assert not missing


def test_the_table_is_what_the_committed_runs_give() -> None:
    folder = README.parent / "benchmarks" / "results" / "transfer-ppo"
    runs = [Run.read(path) for path in sorted(folder.glob("*-seed*.json"))]
    assert len({run.spec.seed for run in runs}) >= 10
    assert min(run.spec.seed for run in runs) >= 100, "tuning seeds are not for reporting"
    assert results_table(runs).select(COLUMNS).markdown() in README.read_text()
