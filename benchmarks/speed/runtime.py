"""What acting without PyTorch costs: the first action of a process, its memory, and a step, beside `predict`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.speed.inference import untrained_student
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import Sample, interleave, seconds
from nb_agents import Battery, KGatedPolicy, export_onnx
from nb_runtime import Policy

ROOT = Path(__file__).parents[2]
BATCHES = {1: 500, 256: 100}
"""Observations of a step, and steps of a sample."""

FIRST_ACTION, MEMORY, STEP = Target(most=0.25), Target(most=0.3), Target(most=0.5)
RUNTIME, PREDICT, TORCH = "`nb_runtime`", "`model.predict`", "`import torch`"
TASKS = ("easy", "hard")

PROCESSES = {
    RUNTIME: """
from nb_runtime import Policy
policy = Policy("policy.onnx", "tasks.safetensors")
policy.apply("hard")
policy.predict([0.1] * {n})
""",
    PREDICT: """
import numpy as np
from stable_baselines3 import PPO
from nb_agents import Battery
model = PPO.load("model.zip", device="cpu")
Battery.load("tasks.safetensors", model).apply("hard")
model.predict(np.full({n}, 0.1, np.float32), deterministic=True)
""",
    TORCH: "import torch",
}
"""What the contenders do up to their first action."""

TELL = """
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")), flush=True)
"""
"""Says the most memory that the process has had, kB; ``ru_maxrss`` would include that of the process it came from."""


@contextmanager
def exported() -> Iterator[tuple[Path, Any, Battery]]:
    """Make a policy with two k-sets, and its files in a folder of their own."""
    torch.set_num_threads(1)
    model = PPO(KGatedPolicy, gym.make("NBPendulumControl-v0"), seed=0, device="cpu")
    battery, generator = Battery(model), torch.Generator().manual_seed(0)
    for name in TASKS:
        battery.add(name, torch.randn(battery.n_k, generator=generator))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "model.zip")
        battery.save(folder / "tasks.safetensors")
        export_onnx(model, folder / "policy.onnx", k="input")
        yield folder, model, battery


def first_action(code: str, folder: Path) -> tuple[float, float]:
    """Run a process up to its first action.

    Returns:
        Time since its start, s, and the most memory that it has had, MB.
    """
    settings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    command = [sys.executable, "-c", code + TELL]
    with subprocess.Popen(command, cwd=folder, env=settings, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        wall = time.perf_counter() - start
    if not told:
        raise RuntimeError(f"a process ended without an action, with status {process.returncode}")
    return wall, float(told) / 1024


def processes(rounds: int) -> list[Row]:
    """Time first actions and take the memory of processes."""
    with exported() as (folder, model, _):
        n = model.observation_space.shape[0]
        code = {name: text.format(n=n) for name, text in PROCESSES.items()}

        def sample(which: int) -> dict[str, list[float]]:
            contenders: dict[str, Sample] = {
                name: lambda text=text: first_action(text, folder)[which]  # type: ignore[misc]
                for name, text in code.items()
            }
            return interleave(contenders, rounds)

        rows = []
        for what, unit, target, samples in (
            ("start to first action", "s", FIRST_ACTION, sample(0)),
            ("memory at the first action", "MB", MEMORY, sample(1)),
        ):
            for peer, goal in ((PREDICT, target), (TORCH, None)):
                both = {name: samples[name] for name in (RUNTIME, peer)}
                rows.append(Row("runtime", f"{what} beside {peer}, {unit}", unit, both, goal))
    return rows


def steps(rounds: int) -> list[Row]:
    """Time a step of a policy with k-sets, one for all rows and one for each."""
    rows = []
    with exported() as (folder, model, battery):
        policy = Policy(folder / "policy.onnx", folder / "tasks.safetensors")
        for n, calls in BATCHES.items():
            observation = np.full((n, *model.observation_space.shape), 0.1, dtype=np.float32)
            names = [TASKS[i % len(TASKS)] for i in range(n)]
            policy.apply(names)
            step = partial(policy.predict, observation)
            with battery.per_row(names):
                predict = partial(model.predict, observation, deterministic=True)
                rows.append(_row("step", n, interleave(_pair(step, predict, calls), rounds)))
    return rows


def student_steps(rounds: int) -> list[Row]:
    """Time a step of a student, whose history is kept on either side."""
    torch.set_num_threads(1)
    student, rows = untrained_student(), []
    with tempfile.TemporaryDirectory() as name:
        export_onnx(student, Path(name, "student.onnx"))
        policy = Policy(Path(name, "student.onnx"))
    for n, calls in BATCHES.items():
        observation = np.zeros((n, *(student.observation_space.shape or ())), dtype=np.float32)
        policy.predict(observation, True)
        _, state = student.predict(observation, None, np.ones(n, dtype=bool), deterministic=True)
        begins = np.zeros(n, dtype=bool)
        predict = partial(student.predict, observation, state, begins, deterministic=True)
        pair = _pair(partial(policy.predict, observation, begins), predict, calls)
        rows.append(_row("student's step", n, interleave(pair, rounds)))
    return rows


def _pair(ours: Callable[[], object], peer: Callable[[], object], calls: int) -> dict[str, Sample]:
    return {
        RUNTIME: lambda: 1e6 * seconds(ours, calls),
        PREDICT: lambda: 1e6 * seconds(peer, calls),
    }


def _row(what: str, n: int, samples: dict[str, list[float]]) -> Row:
    noun = "observation" if n == 1 else "observations"
    return Row("runtime", f"{what}, {n} {noun}, µs", "µs", samples, STEP if n == 1 else None)


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {
    "processes": processes,
    "steps": steps,
    "student steps": student_steps,
}
