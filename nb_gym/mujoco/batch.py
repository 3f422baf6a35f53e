"""Many simulations at once: moved on by a pool of threads, read as one array for each quantity."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def available_threads() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """Shares work between the caller's thread and others; MuJoCo lets them run side by side.

    Args:
        count: Number of threads, the caller's included.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def share(self, work: Callable[[Iterator[Any]], None], items: Iterable[Any]) -> None:
        """Call `work` in each thread with one iterator over the items, so that no thread waits for a slower one.

        What it raises is raised here, once all threads are done.
        """
        shared = iter(items)
        if self.count == 1:
            work(shared)
            return
        if self._pool is None or self._process != os.getpid():  # a forked process has no threads of its parent's
            self._process = os.getpid()
            self._pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix="nb_gym.mujoco")
        others = [self._pool.submit(work, shared) for _ in range(self.count - 1)]
        try:
            work(shared)
        finally:
            wait(others)
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads; a later call of `share` begins new ones."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class Batch:
    """The data of robots of one kind.

    Args:
        envs: Gymnasium's environments.
        threads: Threads that move them on.
        after: Whether `mj_rnePostConstraint` follows a step, without which external forces are not computed.
    """

    def __init__(self, envs: Sequence[Any], threads: Threads, *, after: bool) -> None:
        self.envs = envs
        self.models, self.datas = [env.model for env in envs], [env.data for env in envs]
        self._threads, self._after, self._frames = threads, after, envs[0].frame_skip
        self._controls = [data.ctrl for data in self.datas]
        self._views: dict[str, list[Array]] = {}
        self._read: dict[str, Array] = {}

    def read(self, name: str) -> Array:
        """Read a quantity of all data, such as `qpos`, shape `(num_envs, ...)`, not to be written into.

        What was read since the last `forget` is not read again.
        """
        if name not in self._read:
            if name not in self._views:
                self._views[name] = [getattr(data, name)[None] for data in self.datas]
            self._read[name] = np.concatenate(self._views[name])
        return self._read[name]

    def forget(self) -> None:
        """Take note that data have changed."""
        self._read.clear()

    def simulate(self, actions: Array, chosen: NDArray[np.bool_] | None) -> None:
        """Move on by one decision, all or those chosen, as `MujocoEnv.do_simulation` does."""
        self.forget()
        step, frames, finish = mujoco.mj_step, self._frames, mujoco.mj_rnePostConstraint if self._after else None

        def work(shared: Iterator[tuple[Any, Any, Array, Array]]) -> None:
            for model, data, control, action in shared:
                control[:] = action
                step(model, data, frames)
                if finish is not None:
                    finish(model, data)

        # An iterator of lists' is advanced under the interpreter's lock: threads can share it.
        items = zip(self.models, self.datas, self._controls, list(actions.astype(np.float64)), strict=True)
        self._threads.share(work, items if chosen is None else itertools.compress(items, chosen.tolist()))
