"""The comparison of speeds: what is counted, in which order, and what is said when a peer is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.speed import environments as throughput
from benchmarks.speed import learning as learning_speed
from benchmarks.speed.environments import Comparison, Contender, measure


def test_rounds_are_interleaved_and_the_fastest_peer_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], []
    seconds = {"ours": [9.0, 1.0, 2.0], "slow": [9.0, 8.0, 8.0], "odd": [9.0, 16.0, 4.0]}  # the first for warming up

    def contender(name: str, steps: int) -> Contender:
        def run() -> None:
            calls.append(name)
            clock[0] += seconds[name].pop(0)

        return Contender(name, run, steps)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    comparison = Comparison("test", contender("ours", 16), [contender("slow", 16), contender("odd", 16)], target=3.0)
    outcome = measure(comparison, rounds=2)
    assert calls == ["ours", "slow", "odd", "odd", "slow", "ours", "ours", "slow", "odd"]
    assert {name: speeds.tolist() for name, speeds in outcome.speeds.items()} == {
        "ours": [16.0, 8.0],
        "slow": [2.0, 2.0],
        "odd": [1.0, 4.0],
    }
    assert outcome.ratios.tolist() == [8.0, 2.0]
    assert outcome.as_json()["ratio"] == {"median": 5.0, "min": 2.0, "max": 8.0}


def test_contenders_make_the_steps_that_are_counted() -> None:
    contender = throughput.native(num_envs=3, steps=5)
    assert contender.steps == 15
    contender.run()
    comparison = throughput.gymnasium(disable_env_checker=True)
    assert comparison.ours.steps == comparison.peers[0].steps


def test_a_missing_peer_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(SystemExit, match=r'envpool.*pip install "neural-battery\[peers\]"'):
        throughput.main(["--only", "envpool"])


@pytest.mark.parametrize("module", [throughput, learning_speed])
def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "missing" / "x.json", tmp_path):
        with pytest.raises(SystemExit):
            module.main(["--json", str(path)])
        assert "--json: must be a file in a folder that exists" in capsys.readouterr().err


def test_the_cost_of_gates_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning_speed, "paired_ratios", lambda name, pairs: {"NB": np.linspace(1.0, 1.2, pairs)})
    monkeypatch.setattr(learning_speed, "folded_predict_ratios", lambda name, pairs: np.ones(pairs))
    learning_speed.main(["--pairs", "3", "--algorithms", "PPO", "--json", str(tmp_path / "figures.json")])
    assert "1.100" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    learn, predict = figures["comparisons"]
    assert (learn["algorithm"], learn["call"], learn["policy"]) == ("PPO", "learn", "NB")
    assert learn["ratio"] == {"median": 1.1, "min": 1.0, "max": 1.2}
    assert len(predict["ratios"]) == 15
    path = tmp_path / "figures.json"
    command = f"python -m benchmarks learning-speed --pairs 3 --algorithms PPO --json {path}"
    assert figures["command"] == command
    assert figures["machine"]["cpu"]


def test_figures_are_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, peer = (throughput.native(2, 3) for _ in range(2))
    peer = Contender("a peer", peer.run, peer.steps)
    monkeypatch.setattr(throughput, "COMPARISONS", {"test": lambda: Comparison("a test", ours, [peer], target=2.0)})
    throughput.main(["--quick", "--json", str(tmp_path / "figures.json")])
    assert "a test" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    (comparison,) = figures["comparisons"]
    assert comparison["target"] == 2.0
    assert {name: len(speeds) for name, speeds in comparison["steps_per_second"].items()} == {
        "NBPendulumVectorEnv": 3,
        "a peer": 3,
    }
    assert figures["machine"]["cores"] >= 1
    assert "gymnasium" in figures["versions"]
    assert figures["command"] == f"python -m benchmarks throughput --quick --json {tmp_path / 'figures.json'}"
