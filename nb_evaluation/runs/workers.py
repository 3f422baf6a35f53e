"""Worker processes on this machine, which end when the process that started them does, however it ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib

LOOK_EVERY = 0.5
"""Seconds from one look for the parent process to the next."""


def local_workers(number: int, **options: Any) -> joblib.Parallel:
    """A `joblib.Parallel` of processes with one thread for numbers each, whatever the environment says.

    joblib's own idle workers stay for 300 seconds when the process that started them was killed, and busy ones go on.
    Linux's signal at a parent's death would not do: it comes when the *thread* ends that has started the worker.

    Args:
        number: Number of processes; a single one is this process itself.
        **options: Options of `joblib.Parallel`.
    """
    watch = {"initializer": end_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", n_jobs=number, inner_max_num_threads=1, **watch):
        return joblib.Parallel(**options)


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended; what runs when a worker starts."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)  # nobody waits for what is being done here, and files are written whole or not at all


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch, where it is installed, to one thread.

    Sums over several threads are not the same to the last bit, and the networks are too small to gain.
    """
    try:
        import torch  # here, for those who only read results
    except ImportError:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
