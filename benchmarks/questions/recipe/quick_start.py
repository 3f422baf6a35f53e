"""The quick start of the paper's README, as `docs/guides/paper-recipe.md` prints it: run as it stands, and timed."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nb_evaluation.report.screen import any_terminal
from nb_evaluation.runs.provenance import write_measurement
from nb_gym import NBPendulumEnv

DOCS = Path(__file__).parents[3] / "docs" / "guides" / "paper-recipe.md"
OUT = Path("benchmarks/results/recipe/quick_start.json")


class PendulumEnvironment:
    """`NBPendulumEnv` with the interface of the paper's own environment, which is older than Gymnasium's.

    Args:
        A: amplitude of the drive.
        **context: other parameters of `NBPendulumEnv`.
    """

    def __init__(self, A: float = 1.0, **context: Any) -> None:
        self.env = NBPendulumEnv(A=A, **context)

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode: θ and θ̇, shape ``(2,)``."""
        return self.env.reset()[0]

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, dict[str, Any]]:
        """State, reward, whether the episode is over, and nothing."""
        state, reward, terminated, truncated, _ = self.env.step(action)
        return state, reward, terminated or truncated, {}


def code() -> str:
    """The quick start's source."""
    (block,) = re.findall(r"<!-- quick start -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return str(block)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the quick start on one core and write down how long it took."""
    any_terminal()
    description = (__doc__ or "").partition("\n")[0]
    argparse.ArgumentParser(prog="python -m benchmarks recipe-quick-start", description=description).parse_args(
        arguments
    )
    torch.set_num_threads(1)
    started = time.perf_counter(), time.process_time()
    exec(code(), {})
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_measurement(OUT, episodes=100, steps=100_000, wall_seconds=wall, cpu_seconds=cpu)
    print(f"100 episodes of 1,000 steps: {wall:.1f} s, of which {cpu:.1f} s on the core")


if __name__ == "__main__":
    main()
