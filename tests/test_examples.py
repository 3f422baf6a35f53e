"""The examples run as they stand, with a small budget, and do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
STEPS = 1_000
MOST_LINES = 60


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints, run in an empty folder as a user runs it."""
    script = ROOT / "docs" / "examples" / f"{name}.py"
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    settings = os.environ | {"EXAMPLE_STEPS": str(STEPS), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def returns(printed: str) -> list[float]:
    return [float(number) for number in re.findall(r"-\d[\d,]*\.\d", printed.replace(",", ""))]


def test_own_environment(tmp_path: Path) -> None:
    before, after, again = returns(run("own_environment", tmp_path))
    assert again == before != after


def test_own_robot(tmp_path: Path) -> None:
    printed = run("own_robot", tmp_path).splitlines()
    assert [line.split(":")[0] for line in printed[:1]] == ["as built"]
    assert len(printed) == 5
    assert all(1 <= int(re.findall(r"up for (\d+) of 100", line)[0]) <= 100 for line in printed)


def test_rl_zoo_model(tmp_path: Path) -> None:
    printed = run("rl_zoo_model", tmp_path)
    assert "10 of the actor's" in printed
    folder = tmp_path / "logs" / "ppo" / "Pendulum-v1_1"
    first = (folder / "Pendulum-v1.zip").read_bytes()
    adapted = PPO.load(folder / "adapted" / "Pendulum-v1.zip")
    assert "nb_agents" not in {type(module).__module__.partition(".")[0] for module in adapted.policy.modules()}
    statistics = [
        VecNormalize.load(str(each / "Pendulum-v1" / "vecnormalize.pkl"), make_vec_env("Pendulum-v1", n_envs=4)).obs_rms
        for each in (folder, folder / "adapted")
    ]
    assert statistics[0].count == statistics[1].count > STEPS
    run("rl_zoo_model", tmp_path, str(folder))  # goes on from the model that is there
    assert (folder / "Pendulum-v1.zip").read_bytes() == first


def test_battery_on_a_robot(tmp_path: Path) -> None:
    printed = run("battery_on_a_robot", tmp_path).splitlines()
    assert [line.split(",")[0].split(":")[0] for line in printed[2:]] == ["calm", "rough", "weak motor", "calm"]
    assert printed[2] == printed[5], "a k-set that comes back acts as before"
    assert (tmp_path / "robot.safetensors").stat().st_size < 1000


def test_onnx_loop(tmp_path: Path) -> None:
    assert re.fullmatch(r"return -\d+\.\d in 50 decisions of \d+ µs\n", run("onnx_loop", tmp_path))


def test_without_pytorch(tmp_path: Path) -> None:
    *seas, last = run("without_pytorch", tmp_path).splitlines()
    assert [line.split(":")[0] for line in seas] == ["calm", "rough", "calm"]
    assert seas[0] == seas[2], "a k-set that comes back acts as before"
    assert last == "PyTorch was not loaded"
    assert {path.name for path in tmp_path.iterdir()} == {"policy.onnx", "seas.safetensors"}


def test_single_pass(tmp_path: Path) -> None:
    printed = run("single_pass", tmp_path)
    assert re.findall(
        r"motor ([+-]1): first episodes return -\d+\.\d\n +told which motor it is: -\d+\.\d\n", printed
    ) == ["+1", "-1"]
    assert len(returns(printed)) == 4


def test_record_video(tmp_path: Path) -> None:
    assert len(returns(run("record_video", tmp_path))) == 2
    for name in ("before", "after"):
        video = tmp_path / "videos" / name / "rl-video-episode-0.mp4"
        assert video.read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_shown_and_run(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES
    assert f'--8<-- "docs/examples/{path.name}"' in (ROOT / "docs" / "examples.md").read_text()
    assert f"test_{path.stem}" in globals()


def test_fleet(tmp_path: Path) -> None:
    first, second = run("fleet", tmp_path).splitlines()
    size = (tmp_path / "fleet.safetensors").stat().st_size
    assert first == f"64 k-sets of 10 numbers, {size:,} bytes"
    assert len(set(returns(second))) == 2
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


def test_geometry(tmp_path: Path) -> None:
    printed = run("geometry", tmp_path).splitlines()
    assert len(returns("\n".join(printed))) == 5
    assert printed[-1] == "of 10 numbers, 8 directions change the policy"
