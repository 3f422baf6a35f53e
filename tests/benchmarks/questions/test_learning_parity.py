"""Learning with gates against without: the measurement, and what the committed runs say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from benchmarks.__main__ import main as benchmarks
from benchmarks.commands.report import DEFAULT
from benchmarks.questions import all_questions
from benchmarks.questions.learning_parity.question import gate_arguments
from benchmarks.questions.learning_parity.tables import TASK_NAMES
from benchmarks.questions.learning_parity.tasks import TASKS, Task, identity_return
from nb_evaluation.question import Job
from nb_evaluation.reader import read_folder
from nb_evaluation.stats.estimates import paired_difference
from tests.benchmarks.tools import stored

RESULTS = DEFAULT / "learning_parity"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stub(space: spaces.Space[Any], predict: Any) -> Any:
    return SimpleNamespace(
        observation_space=space, action_space=space, predict=lambda x, deterministic: (predict(x), None)
    )


@pytest.mark.parametrize(
    ("space", "constant"),
    [
        (spaces.Discrete(4), 25.0),
        (spaces.MultiDiscrete([4, 4]), 6.25),
        (spaces.MultiBinary(4), 6.25),
        (spaces.Box(-1, 1, (1,)), 100 * 101 / 201),
    ],
)
def test_the_score_is_the_expected_return(space: spaces.Space[Any], constant: float) -> None:
    assert identity_return(stub(space, lambda x: x)) == 100.0
    assert identity_return(stub(space, lambda x: np.zeros_like(x))) == pytest.approx(constant)


def test_variants_are_written_out() -> None:
    assert gate_arguments("plain") is None
    default, paper, slow = (gate_arguments(name) or {} for name in ("default", "paper", "k_lr_ratio=0.5"))
    assert (default["gate_max"], default["k_init"], default["k_target_weight"]) == (2.0, 0.0, 0.0)
    assert (paper["gate_max"], paper["k_init"], paper["k_target_weight"]) == (None, 0.25, 0.1)
    assert slow == default | {"k_lr_ratio": 0.5}
    with pytest.raises(ValueError, match="variant must be plain, default, paper or k_lr_ratio=NUMBER, got 'papers'"):
        gate_arguments("papers")


@pytest.mark.parametrize("name", ["A2C multi-binary", "TD3 box", "QRDQN discrete"])
def test_with_gates_held_still_both_learn_the_same(name: str) -> None:
    """So every difference between the two is the gates' learning."""
    optimizer = {"optimizer_class": torch.optim.Adam, "optimizer_kwargs": {"fused": True}}
    settings = dict(TASKS[name].settings) | {"max_grad_norm": 1e9} if name[:3] != "TD3" else dict(TASKS[name].settings)
    settings["policy_kwargs"] = settings.get("policy_kwargs", {}) | optimizer
    task = replace(TASKS[name], steps=300, settings=settings)
    assert task.run({"k_lr_ratio": 0.0}, 3) == task.run(None, 3)


@pytest.mark.parametrize("name", ["TRPO multi-binary", "TD3 box"])
def test_a_gated_policy_learns_as_the_plain_one(name: str) -> None:
    plain, gated = TASKS[name].run(None, 0), TASKS[name].run({}, 0)
    assert gated[1] >= plain[1] - 6.25
    assert gated[1] > 90


def test_tasks_are_named_without_importing_them() -> None:
    assert tuple(TASKS) == TASK_NAMES


def main(*arguments: str) -> int:
    return benchmarks(["learning-parity", "--workers", "1", *arguments])


def test_a_job_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[bool, int]] = []

    def run(self: Any, gates: Any, seed: int) -> tuple[float, float]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append((gates is None, seed))
        return 1.0, 2.0

    monkeypatch.setattr(Task, "run", run)
    options = "--tasks", "ARS discrete", "--methods", "default", "--seeds", "2", "--out", str(tmp_path)
    assert main(*options) == 130
    assert done == [(True, 100), (False, 100), (True, 101)]
    done.clear()
    assert main(*options) == 0
    assert done == [(False, 101)]
    assert len(stored(tmp_path)) == 4
    assert "| ARS discrete | 2.0 | +0.0" in (tmp_path / "table.md").read_text()


def test_bad_variants_are_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--methods", "--variants"):
        with pytest.raises(SystemExit):
            main(option, "papers", "--out", str(tmp_path / "out"))
    errors = capsys.readouterr().err
    assert "variant must be plain" in errors
    assert "--variants: is not known any more: write --methods METHOD" in errors
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def committed() -> Job:
    (job,), _ = read_folder(RESULTS, all_questions())
    assert job.skipped == []
    return job


def test_no_interval_of_the_committed_differences_is_below_zero(committed: Job) -> None:
    by_task: dict[str, dict[str, dict[int, float]]] = {}
    for run in committed.runs:
        by_task.setdefault(run.spec.task, {}).setdefault(run.spec.method, {})[run.spec.seed] = run.result.end
    assert by_task.keys() >= set(TASKS)
    for task, scores in by_task.items():
        assert set(scores["default"]) == set(scores["plain"]) == set(range(100, 108)), task
        pairs = [(scores["default"][seed], scores["plain"][seed]) for seed in sorted(scores["plain"])]
        found = paired_difference(*zip(*pairs, strict=True), np.random.default_rng(0))
        assert found.high >= 0, f"{task}: {found}"
    verdict = committed.question.answer(committed.runs)
    assert verdict is not None
    assert verdict.text.startswith(
        f"With their defaults gates end below SB3's own policy in none of {len(TASKS)} tasks,"
    )
    assert verdict.tone == "same"
