"""The cost of k-sets: what is measured, printed and written."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from benchmarks.speed import battery as battery_speed
from nb_agents import KGatedPolicy


def test_every_time_has_a_sample_per_round_and_the_ratio_is_paired() -> None:
    model = PPO(KGatedPolicy, gym.make("Pendulum-v1"), policy_kwargs={"net_arch": [8]}, device="cpu")
    samples = battery_speed.measure(model, batch=5, rounds=3, repeats=2)
    assert list(samples) == list(battery_speed.COLUMNS)
    assert all(values.shape == (3,) and np.all(values > 0) for values in samples.values())
    assert np.array_equal(samples["ratio"], samples["rows"] / samples["shared"])


def test_figures_are_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def made_up(model: PPO, *, batch: int, rounds: int) -> dict[str, np.ndarray]:
        asked.append((batch, rounds))
        return {name: np.array([1.0, 2.0, 6.0]) for name in battery_speed.COLUMNS}

    monkeypatch.setattr(battery_speed, "measure", made_up)
    battery_speed.main(["--rounds", "3", "--batch", "4", "--json", str(tmp_path / "figures.json")])
    assert asked == [(4, 3)] * 3
    assert "2.00" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["policy"] for each in figures["policies"]] == ["PPO, 64-64", "SAC, 64-64", "SAC, 256-256"]
    first = figures["policies"][0]
    assert set(first["microseconds"]) | {"ratio"} == set(battery_speed.COLUMNS)
    assert first["microseconds"]["apply"] == first["ratio"] == {"median": 2.0, "min": 1.0, "max": 6.0}
    assert figures["machine"]["cpu"]
    command = f"python -m benchmarks battery-speed --rounds 3 --batch 4 --json {tmp_path / 'figures.json'}"
    assert figures["command"] == command


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--batch", "x"], ["--json", "missing/x.json"]])
def test_bad_arguments_are_refused_before_measuring(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(battery_speed, "measure", None)
    with pytest.raises(SystemExit):
        battery_speed.main(arguments)
