"""Many simulations at once: moved on by a pool of threads, read as one array for each quantity."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
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

    Two queues hand work over sooner than an executor's futures do, and a decision takes less than a millisecond.

    Args:
        count: Number of threads, the caller's included.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._begin: SimpleQueue[tuple[Callable[[Iterator[Any]], None], Iterator[Any]] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._others: list[Thread] = []
        self._process = 0

    def share(self, work: Callable[[Iterator[Any]], None], items: Iterable[Any]) -> None:
        """Call `work` in each thread with one iterator over the items, so that no thread waits for a slower one.

        What it raises is raised here, once all threads are done.
        """
        shared = iter(items)
        if self.count == 1:
            work(shared)
            return
        if not self._others or self._process != os.getpid():  # a forked process has no threads of its parent's
            self._start()
        for _ in self._others:
            self._begin.put((work, shared))
        try:
            work(shared)
        finally:
            errors = [self._done.get() for _ in self._others]
        for error in filter(None, errors):
            raise error

    def _start(self) -> None:
        self._process, self._begin, self._done = os.getpid(), SimpleQueue(), SimpleQueue()
        queues = (self._begin, self._done)
        self._others = [Thread(target=_serve, args=queues, daemon=True) for _ in range(self.count - 1)]
        for each in self._others:
            each.start()

    def close(self) -> None:
        """End the threads; a later call of `share` begins new ones."""
        for _ in self._others:
            self._begin.put(None)
        if self._process == os.getpid():
            for each in self._others:
                each.join()
        self._others = []

    def __del__(self) -> None:
        for _ in self._others:  # the threads hold the queues, and not this
            self._begin.put(None)


def _serve(begin: SimpleQueue[Any], done: SimpleQueue[Any]) -> None:
    while (task := begin.get()) is not None:
        work, shared = task
        error: BaseException | None = None
        try:
            work(shared)
        except BaseException as raised:  # handed to the caller's thread, which waits for it
            error = raised
        del task, work, shared
        done.put(error)


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
