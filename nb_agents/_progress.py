"""SB3's progress bar, around loops of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from stable_baselines3.common.callbacks import ProgressBarCallback


@contextmanager
def progress(show: bool, total: int, done: int = 0, at_once: int = 1) -> Iterator[Callable[[], Any]]:
    """SB3's own bar, which asks a model for no more than this, as a function to call as things get done.

    Args:
        show: Whether there is one.
        total: Number of things in all.
        done: Number of those that are done.
        at_once: Number that is done by each call.

    Raises:
        ImportError: If the bar's packages are missing.
    """
    if not show:
        yield lambda: None
        return
    bar = ProgressBarCallback()
    steps: Any = SimpleNamespace(num_timesteps=done, get_env=lambda: SimpleNamespace(num_envs=at_once), logger=None)
    bar.init_callback(steps)
    bar.on_training_start({"total_timesteps": total}, {})
    try:
        yield bar.on_step
    finally:
        bar.on_training_end()
