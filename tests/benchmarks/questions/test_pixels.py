"""Pixels: what its runs measure, and what tables, figure and verdict make of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.questions.pixels import learners
from benchmarks.questions.pixels.question import Pixels, PixelsResult, PixelsRun, PixelsSpec
from benchmarks.questions.pixels.tables import METHODS, SHOWN, differences, pixels_answer, pixels_tables
from nb_agents import named_gates
from nb_evaluation import kept
from nb_gym.wrappers import LOOKS

SMALL: dict[str, Any] = {"seed": 3, "look": "swapped", "pretraining": 400, "decisions": 400}

NUMBERS = {
    "source": 0,
    "nb-k": 4,
    "nb-pro-k": 4 + 2 + 4 + 4 + 32,
    "nb-pro-signed-k": 46,
    "nb-channel-k": 4 + 32 + 64 + 64 + 512,
    "biases": 32 + 64 + 64 + 512 + 1,
    "head": 513,
    "fine-tune": (6 * 64 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 9 + 1) * 64 + 65 * 512 + 513,
}


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    learners.source.cache_clear()


def test_a_run_is_a_pure_function_of_its_specification() -> None:
    """Whether its source was trained just now or was kept, and whatever else the process has done."""
    spec = PixelsSpec(method="nb-pro-k", **SMALL)
    result = Pixels().execute(spec)
    learners.source.cache_clear()
    torch.manual_seed(7)
    assert result == Pixels().execute(spec)
    assert result.after != result.before


def test_methods_begin_with_the_source_and_differ_in_what_trains() -> None:
    begin = learners.source(3, 400)
    home = Pixels().execute(PixelsSpec(method="source", **SMALL))
    assert home.before == home.after
    for name, adapter in learners.ADAPTERS.items():
        if name == "scratch":
            continue
        moved = learners.adapt(PixelsSpec(method=name, **SMALL), adapter, begin)
        assert moved.returns_before.tolist() == home.before
        assert moved.n_trained == NUMBERS[name]
        state = {key.replace(".activation", ""): value for key, value in moved.model.policy.state_dict().items()}
        same = {key: torch.equal(value, begin.state[key]) for key, value in state.items() if key in begin.state}
        weight = "features_extractor.cnn.0.weight"
        assert same[weight] is (name != "fine-tune")
        assert same["features_extractor.cnn.0.bias"] is (name not in ("fine-tune", "biases"))
        assert same["action_net.weight"] is (name not in ("fine-tune", "head"))
        assert not same["value_net.weight"]
        gates = dict(named_gates(moved.model.policy))
        still = all(gate.gate().eq(1.0).all() for gate in gates.values())
        assert still is not name.endswith("-k")
    assert NUMBERS.keys() == METHODS.keys() - {"scratch"}


def test_a_new_policy_knows_nothing_of_the_source() -> None:
    result = Pixels().execute(PixelsSpec(method="scratch", **SMALL))
    assert result.numbers == NUMBERS["fine-tune"]
    assert not list(kept.FOLDER.iterdir())


def test_every_look_has_a_name_and_every_method_is_run_in_each() -> None:
    assert SHOWN.keys() < LOOKS.keys()
    parser = argparse.ArgumentParser()
    Pixels().add_options(parser)
    specs = Pixels().specifications(parser.parse_args(["--seeds", "2", "--looks", "tilted", "faded"]))
    assert len(specs) == len({spec.digest for spec in specs}) == 2 * 2 * len(METHODS)
    assert {spec.seed for spec in specs} == {100, 101}


def made_up(method: str, look: str, seed: int, value: float) -> PixelsRun:
    result = PixelsResult(NUMBERS.get(method, 9), [-50.0] * 16, [value + 0.1 * seed] * 16)
    return PixelsRun(PixelsSpec(method=method, seed=seed, look=look), result, {}, None, 1.0, 1.0)


@pytest.mark.parametrize(("lead", "tone"), [(0.0, "same"), (2.0, "better"), (-2.0, "worse")])
def test_tables_figure_and_verdict_are_made_of_the_runs(lead: float, tone: str) -> None:
    levels = {"nb-k": -20.0 + lead, "fine-tune": -20.0, "source": -50.0}
    runs = [
        made_up(name, look, seed, level)
        for name, level in levels.items() for look in ("faded", "tilted") for seed in range(100, 105)
    ]  # fmt: skip
    first, second = pixels_tables(runs)
    assert first.title.startswith("Look `faded`")
    rows = {row[0]: dict(zip(second.columns, row, strict=True)) for row in second.rows}
    assert list(rows) == ["`nb-k`", "`fine-tune`", "`source`"]
    assert rows["`nb-k`"]["this − `fine-tune`"].startswith(f"{'+' if lead >= 0 else '−'}{abs(lead):.2f} [")
    assert rows["`fine-tune`"]["worst seed"] == "−10.00"
    assert rows["`fine-tune`"]["numbers"] == "115,873"
    assert differences(runs)["nb-k"].point == pytest.approx(lead)
    verdict = pixels_answer(runs)
    assert verdict is not None
    assert verdict.tone == tone
    assert "2 other looks" in verdict.text
    (drawn,) = Pixels().figures(runs)
    assert drawn.name == "pixels"
    assert len(drawn.figure.axes) == 2


def test_too_few_seeds_give_no_verdict() -> None:
    runs = [made_up(name, "faded", seed, -1.0) for name in ("nb-k", "fine-tune") for seed in range(100, 103)]
    assert differences(runs) == {}
    assert pixels_answer(runs) is None
    assert np.shape(pixels_tables(runs)[0].rows) == (2, 8)
