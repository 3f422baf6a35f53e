"""Other people's MAML-TRPO, made to run beside ours: one meta-iteration of the 2-D navigation per request.

`python -m benchmarks peers-maml install FOLDER` makes a virtual environment in FOLDER with what the peers need from
PyPI and clones their code from GitHub; nothing of it is part of this repository. `benchmarks.speed.maml` then starts
this file with that environment's interpreter, once per peer.

What is shimmed, because the peers are written for older versions of their dependencies:

- gym is 0.17.3, the last that both agree with; `numpy.bool`, `float_` and the like, removed from NumPy, are put back.
- `torch.lstsq(B, A)`, removed from PyTorch, is `torch.linalg.lstsq(A, B)`, which is not slower.
- Only the modules of learn2learn that its `examples/rl/maml_trpo.py` uses are imported: the package's own `__init__`
  wants torchvision and compiled extensions.

Neither peer's algorithm, sampling or optimisation is touched. pytorch-maml-rl samples in a worker process (one here),
learn2learn in ten; their processor time is counted. One thread per process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import subprocess
import sys
import types
import venv
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SOURCES = {
    "pytorch-maml-rl": ("https://github.com/tristandeleu/pytorch-maml-rl", "21d4ba1"),
    "learn2learn": ("https://github.com/learnables/learn2learn", "db5cee3"),
}
REQUIREMENTS = ("gym==0.17.3", "cherry-rl==0.2.0", "six", "dotmap", "tqdm")


def install(folder: Path) -> None:
    """Set the peers up in `folder`; they share this interpreter's torch and NumPy."""
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    python = environment / "bin" / "python"
    # Without their dependencies: those that the code imports are shared, the others pull in old versions of the same.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *REQUIREMENTS], check=True)
    for name, (url, commit) in SOURCES.items():
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", url, folder / name], check=True)
        subprocess.run(
            ["git", "-C", folder / name, "checkout", "--quiet", commit, "--", ":(exclude)_assets"], check=True
        )


def shim() -> None:
    """Put back what the peers' dependencies have lost since."""
    here = str(Path(__file__).resolve().parent)  # on the path of a script; its modules have common names
    sys.path[:] = [path for path in sys.path if path != here]
    import numpy as np
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name, value in {"bool": bool, "float": float, "int": int, "object": object, "float_": np.float64}.items():
        if name not in np.__dict__:
            setattr(np, name, value)

    def lstsq(right_side: torch.Tensor, matrix: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.linalg.lstsq(matrix, right_side).solution, None

    torch.__dict__["lstsq"] = lstsq


def cpu_seconds() -> float:
    """Sum the processor time of this process and of its children so far, living ones included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(stat.parent.name) == os.getpid() or int(fields[1]) == os.getpid():
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def pytorch_maml_rl(source: Path, hidden: tuple[int, ...], activation: str) -> Iterator[tuple[float, float]]:
    """Run the meta-iterations of its `configs/maml/2d-navigation.yaml`, as its `train.py` runs them.

    Yields:
        Mean returns before and after adapting.
    """
    sys.path.insert(0, str(source))
    import numpy as np
    import torch

    gym = importlib.import_module("gym")
    names = ("baseline", "metalearners", "samplers", "utils.helpers", "utils.reinforcement_learning", "envs")
    # The last one registers the environment.
    baseline, metalearners, samplers, helpers, learning, _ = (importlib.import_module(f"maml_rl.{n}") for n in names)
    torch.manual_seed(0)
    env = gym.make("2DNavigation-v0", low=-0.5, high=0.5)
    env.close()
    policy = helpers.get_policy_for_env(env, hidden_sizes=hidden, nonlinearity=activation)
    policy.share_memory()
    sampler = samplers.MultiTaskSampler(
        "2DNavigation-v0",
        env_kwargs={"low": -0.5, "high": 0.5},
        batch_size=20,
        policy=policy,
        baseline=baseline.LinearFeatureBaseline(helpers.get_input_size(env)),
        env=env,
        seed=0,
        num_workers=1,
    )
    learner = metalearners.MAMLTRPO(policy, fast_lr=0.1, first_order=False, device="cpu")
    while True:
        tasks = sampler.sample_tasks(num_tasks=20)
        futures = sampler.sample_async(tasks, num_steps=1, fast_lr=0.1, gamma=0.99, gae_lambda=1.0, device="cpu")
        learner.step(*futures, max_kl=1e-2, cg_iters=10, cg_damping=1e-5, ls_max_steps=15, ls_backtrack_ratio=0.8)
        train, valid = sampler.sample_wait(futures)
        yield float(np.mean(learning.get_returns(train[0]))), float(np.mean(learning.get_returns(valid)))


def learn2learn(source: Path, hidden: tuple[int, ...], activation: str) -> Iterator[tuple[float, float]]:
    """Run the meta-iterations of its `examples/rl/maml_trpo.py`, whose `main` prints a return when one is over.

    Yields:
        NaN and the mean return after adapting.
    """
    assert (hidden, activation) == ((100, 100), "relu"), "the example's network is fixed"
    package = source / "learn2learn"
    for name in ("", ".algorithms"):
        stub = types.ModuleType("learn2learn" + name)
        stub.__path__ = [str(package.joinpath(*name.split(".")))]
        sys.modules[stub.__name__] = stub
    root: Any = sys.modules["learn2learn"]
    root.utils = importlib.import_module("learn2learn.utils")
    root.clone_module = root.utils.clone_module
    root.gym = importlib.import_module("learn2learn.gym")
    root.algorithms = sys.modules["learn2learn.algorithms"]
    root.algorithms.maml = importlib.import_module("learn2learn.algorithms.maml")
    sys.path.insert(0, str(source / "examples" / "rl"))
    example = importlib.import_module("maml_trpo")
    yield from _pauses(lambda report: _patched(example, report))


def _patched(example: Any, report: Callable[[float], None]) -> None:
    def intercept(*values: object) -> None:
        if values and values[0] == "adaptation_reward":
            report(float(str(values[1])))

    example.print = intercept
    example.tqdm = lambda iterable, **_: iterable
    random.seed(0)
    example.main(num_iterations=1000)


def _pauses(run: Callable[[Callable[[float], None]], None]) -> Iterator[tuple[float, float]]:
    """Let a function that reports once per meta-iteration run only while its next report is asked for."""
    import threading

    asked, answered = threading.Semaphore(0), threading.Semaphore(0)
    values: list[float] = []

    def report(value: float) -> None:
        values.append(value)
        answered.release()
        asked.acquire()

    threading.Thread(target=run, args=(report,), daemon=True).start()
    while True:
        answered.acquire()
        yield float("nan"), values[-1]
        asked.release()


PEERS = {"pytorch-maml-rl": pytorch_maml_rl, "learn2learn": learn2learn}


def serve(peer: str, source: Path, hidden: tuple[int, ...], activation: str) -> None:
    """Make one meta-iteration for each line on standard input, and answer with a JSON line."""
    shim()
    iterations = PEERS[peer](source, hidden, activation)
    for _ in sys.stdin:
        start = cpu_seconds()
        before, after = next(iterations)
        answer = {"cpu": cpu_seconds() - start, "before": None if before != before else before, "after": after}
        sys.stderr.flush()
        sys.__stdout__.write(json.dumps(answer) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


def main(arguments: Sequence[str] | None = None, program: str = "python -m benchmarks peers-maml") -> int:
    """Obey `install FOLDER`, or `serve PEER SOURCE HIDDEN ACTIVATION` as `benchmarks.speed.maml` calls it."""
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install").add_argument("folder", type=Path)
    server = commands.add_parser("serve")
    server.add_argument("peer", choices=list(PEERS))
    server.add_argument("source", type=Path)
    server.add_argument("hidden", type=int)
    server.add_argument("activation", choices=["tanh", "relu"])
    options = parser.parse_args(arguments)
    if options.command == "install":
        install(options.folder)
    else:
        serve(options.peer, options.source, (options.hidden, options.hidden), options.activation)
    return 0


if __name__ == "__main__":
    sys.exit(main())
