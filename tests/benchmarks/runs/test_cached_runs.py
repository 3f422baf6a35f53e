"""Runs of the meta-learning scripts: made once, and never mixed with those of other settings or code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.questions.navigation import question as navigation
from benchmarks.questions.sign_flip import question as sign_flip
from benchmarks.runs import cached_runs as module
from benchmarks.runs.cached_runs import cached_runs, origin

SETTINGS = {"inner_lr": 0.1}


class Counted:
    """A run that counts how often it is made."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    def run(self, method: str, seed: int) -> dict[str, Any]:
        self.made.append((method, seed))
        return {"method": method, "seed": seed, "final": 1.5 * seed}


def test_a_run_is_made_once(tmp_path: Path) -> None:
    counted = Counted()
    first = cached_runs(["maml"], [1, 2], counted.run, SETTINGS, tmp_path / "runs")
    again = cached_runs(["maml", "joint"], [1, 2], counted.run, SETTINGS, tmp_path / "runs")
    assert counted.made == [("maml", 1), ("maml", 2), ("joint", 1), ("joint", 2)]
    assert [(r["seed"], r["method"]) for r in again] == [(1, "maml"), (1, "joint"), (2, "maml"), (2, "joint")]
    assert again[::2] == first
    written = json.loads((tmp_path / "runs" / "maml-1.json").read_text())
    assert written["origin"] == origin(counted.run, SETTINGS)
    assert written["origin"]["settings"] == {"inner_lr": "0.1"}
    assert "commit" in written


@pytest.mark.parametrize("other", ["settings", "versions", "code"])
def test_runs_of_another_origin_are_refused_before_anything_is_run(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    cached_runs(["maml"], [2], counted.run, SETTINGS, tmp_path)
    real = origin

    def elsewhere(*args: Any) -> dict[str, Any]:
        return real(*args) | {other: "another"}

    monkeypatch.setattr(module, "origin", elsewhere)
    with pytest.raises(ValueError, match=rf"maml-2\.json was made with other {other} than"):
        cached_runs(["maml"], [1, 2], counted.run, SETTINGS, tmp_path)
    assert counted.made == [("maml", 2)]


def test_the_digest_is_of_the_scripts_code_too(tmp_path: Path) -> None:
    codes = {origin(run, {})["code"] for run in (navigation.run, sign_flip.run, Counted().run)}
    assert len(codes) == 3


@pytest.mark.parametrize("content", ["", "[]", '{"result": {}}', '{"origin": {}, "res'])
def test_what_is_not_a_run_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "maml-1.json").write_text(content)
    with pytest.raises(ValueError, match=r"maml-1\.json is not a run file"):
        cached_runs(["maml"], [1], Counted().run, SETTINGS, tmp_path)


@pytest.mark.parametrize("script", [navigation, sign_flip])
def test_stale_runs_end_a_script_with_a_usage_error(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "maml-100.json").write_text("{}")
    with pytest.raises(SystemExit, match="2"):
        script.main(["--runs", str(runs), "--out", str(tmp_path / "out.json")])
    assert "maml-100.json is not a run file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def made_up(method: str, seed: int) -> dict[str, Any]:
    """A run of the sign flip in which MAML reaches −50 and −60 after three steps, the others −1000 and −2000."""
    final = [[-50.0, -60.0] if method == "maml" and k >= 3 else [-1000.0, -2000.0] for k in range(6)]
    return {"method": method, "seed": seed, "steps": [], "training": [], "final": final}


def test_the_sign_flips_report_is_made_of_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_flip, "run", made_up)
    out = tmp_path / "sign_flip.json"
    sign_flip.main(["--seeds", "100", "101", "--runs", str(tmp_path / "runs"), "--out", str(out)])
    report = json.loads(out.read_text())
    assert report["summary"]["maml"]["worse_sign"] == [-2000.0] * 3 + [-60.0] * 3
    assert report["summary"]["joint"]["maml_minus_this"]["point"] == pytest.approx(1445.0)
    assert len(report["runs"]) == 6
    assert {"versions", "commit"} <= report.keys()
