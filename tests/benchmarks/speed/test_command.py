"""`python -m benchmarks speed`: what it writes and shows, and what it refuses before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.speed import command
from benchmarks.speed.rows import Row, Target
from nb_evaluation.report.screen import NO_BREAK


def made_up(rounds: int, folder: Path | None = None) -> list[Row]:
    """A comparison without a clock."""
    samples = {"ours": [4.0, 5.0, 6.0][:rounds], "a peer": [2.0] * rounds}
    return [Row("environments", "a test", "steps/s", samples, Target(least=2.0))]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, part in command.PARTS.items():
        comparisons = {"envpool": made_up} if name == "environments" else {}
        monkeypatch.setitem(command.PARTS, name, part._replace(comparisons=comparisons))


@pytest.mark.usefixtures("parts")
def test_samples_are_written_and_shown_and_become_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "some" / "folder"
    assert main(["speed", "environments", "--rounds", "3", "--out", str(out)]) == 0
    assert "a test" in capsys.readouterr().out.replace(NO_BREAK, " ")
    figures = json.loads((out / "environments.json").read_text())
    assert figures["part"] == "environments"
    assert figures["command"] == f"python -m benchmarks speed environments --rounds 3 --out {out}"
    assert figures["machine"]["cores"] >= 1
    assert "gymnasium" in figures["versions"]
    assert "commit" in figures
    (row,) = figures["rows"]
    assert row["samples"] == {"ours": [4.0, 5.0, 6.0], "a peer": [2.0, 2.0, 2.0]}
    assert row["target"] == {"least": 2.0, "most": None, "unit": ""}
    text = (out / "table.md").read_text()
    assert "| a test | 5 | 2 | 2.50 [2.00, 3.00] | 3 | ≥ 2 | yes |" in text
    assert "Left out: `learning.json` is missing; `python -m benchmarks speed learning --out FOLDER` writes it" in text


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("installed", [True, False])
def test_without_a_part_those_are_measured_whose_packages_are_there(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: installed)
    assert main(["speed", "--rounds", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "environments.json").exists() is installed
    assert ("left out: environments" in capsys.readouterr().out) is not installed


def test_the_names_of_comparisons_choose_among_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for name, part in command.PARTS.items():
        comparisons = {
            each: lambda rounds, name=name, each=each, **extra: asked.append((name, each, rounds, extra)) or []
            for each in part.comparisons
        }
        monkeypatch.setitem(command.PARTS, name, part._replace(comparisons=comparisons))
    monkeypatch.setattr(command, "find_spec", lambda name: True)
    assert main(["speed", "--only", "PPO", "gymnasium", "tasks", "--out", str(tmp_path)]) == 0
    assert asked == [
        ("environments", "gymnasium", 11, {}),
        ("learning", "PPO", 9, {}),
        ("maml", "tasks", 5, {"folder": None}),
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: must be a whole number of at least 1, got '0'"),
        (["throughput"], f"must be one of {', '.join(command.PARTS)}, got 'throughput'"),
        (["--only", "everything"], "--only"),
        (["--peers", "nowhere"], "must be a folder set up by `python -m benchmarks peers-maml install`, got 'nowhere'"),
        (["--json", "x.json"], "--json: is not known any more: write --out FOLDER"),
        (["--quick"], "--quick: is not known any more: write --rounds 3"),
        (["--pairs", "3"], "--pairs: is not known any more: write --rounds N"),
        (["--algorithms", "PPO"], "--algorithms: is not known any more: write --only NAME"),
        (["--out", __file__], f"--out {__file__} cannot be a folder"),
    ],
)
def test_bad_arguments_are_refused_before_measuring(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, part in command.PARTS.items():
        monkeypatch.setitem(command.PARTS, name, part._replace(comparisons=dict.fromkeys(part.comparisons)))
    with pytest.raises(SystemExit, match="2"):
        main(["speed", *arguments])
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("throughput", "speed environments"),
        ("learning-speed", "speed learning"),
        ("battery_speed", "speed battery"),
        ("maml_speed", "speed maml"),
    ],
)
def test_commands_of_the_older_form_name_the_new_one(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([old, "--json", "x.json"]) == 2
    assert f"python -m benchmarks {old} is now python -m benchmarks {new}" in capsys.readouterr().err
