"""The film shows two policies in the same robot, from the same start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from stable_baselines3.common.running_mean_std import RunningMeanStd

from benchmarks.questions.robots.film import EVERY, TITLES, frames
from benchmarks.questions.robots.worlds import ROBOTS
from benchmarks.report.film import save_film


class Pushing:
    """A policy that always does the same, and keeps what it saw."""

    def __init__(self, force: float) -> None:
        self.force, self.seen = force, list[Any]()

    def predict(self, observation: Any, deterministic: bool) -> tuple[Any, None]:
        self.seen.append(observation)
        return np.full(6, self.force, dtype=np.float32), None


def test_both_sides_begin_alike_and_the_forelegs_alone_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    actors = [Pushing(0.0), Pushing(1.0)]
    statistics = RunningMeanStd(shape=(17,))
    pictures = list(frames(ROBOTS["HalfCheetah"], actors, statistics, 3 * EVERY))
    assert [picture.shape for picture in pictures] == [(320, 640, 3)] * 3
    still, pushed = (actor.seen for actor in actors)
    assert_array_equal(still[0], pushed[0])
    assert abs(pushed[-1][5:8]).max() > 3 * abs(still[-1][5:8]).max()
    save_film(pictures, TITLES, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (640, 352)
        assert film.n_frames == 3  # type: ignore[attr-defined]
