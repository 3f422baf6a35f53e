"""Many simulations at once: moved on by a pool of threads, read as one array for each quantity."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
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
    """Calls a function on items, some in the caller's thread and some in others; MuJoCo lets them run side by side.

    Args:
        count: Number of threads, the caller's included.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def each(self, function: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Call the function on all items; what it raises is raised here, once all threads are done."""
        if self.count == 1:
            for item in items:
                function(item)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix="nb_gym.mujoco")
        shared = iter(items)  # each thread takes the next: none waits for a slower one

        def work() -> None:
            for item in shared:
                function(item)

        others = [self._pool.submit(work) for _ in range(self.count - 1)]
        try:
            work()
        finally:
            wait(others)
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads; a later call of `each` begins new ones."""
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
        self._everything = list(zip(self.models, self.datas, self._controls, range(len(envs)), strict=True))

    def read(self, name: str) -> Array:
        """Read a quantity of all data, such as `qpos`: a new array of shape `(num_envs, ...)`."""
        views = self._views.get(name)
        if views is None:
            views = self._views[name] = [getattr(data, name)[None] for data in self.datas]
        return np.concatenate(views)

    def simulate(self, actions: Array, chosen: NDArray[np.bool_] | None) -> None:
        """Move on by one decision, all or those chosen, as `MujocoEnv.do_simulation` does."""
        step, frames, finish = mujoco.mj_step, self._frames, mujoco.mj_rnePostConstraint if self._after else None

        def one(item: tuple[Any, Any, Array, int]) -> None:
            model, data, control, i = item
            control[:] = actions[i]
            step(model, data, frames)
            if finish is not None:
                finish(model, data)

        everything = self._everything
        self._threads.each(one, everything if chosen is None else [everything[i] for i in np.flatnonzero(chosen)])
