"""Runs on a Ray cluster: connecting to one within a bounded time, and a joblib backend whose tasks are Ray's.

Ray has a joblib backend of its own (`ray.util.joblib`). As of Ray 2.60 it cannot be used here: it returns no result
before the last one is there (`return_as="generator_unordered"` is refused), it deals tasks out in turn to a fixed pool
of processes, busy or not, it does not replace one that dies, and with one worker it stays in the calling process.
Ray's tasks have none of that, and a joblib backend on top of them is a few lines.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from joblib.parallel import ParallelBackendBase

RETRIES = 2
"""How often Ray repeats a run whose worker process or node has died, before the run counts as failed."""

PATIENCE = 30.0
"""Seconds within which a cluster has to answer."""

INSTALL = 'pip install "neural-battery[ray]"'

PACKAGES = ("nb_agents", "nb_evaluation", "nb_gym", "nb_runtime")
"""Sent along with the runs and the package that asks for them, so that every node runs the code that is here."""


@dataclass(frozen=True)
class Lost:
    """Stands where a run's result would be: its worker has died once too often, or cannot load the code."""

    reason: str


@contextmanager
def connected(address: str, code: Path | None = None) -> Iterator[None]:
    """Connect this process to a cluster that `reach` has found, and disconnect in the end.

    Disconnecting ends what is still being run for this process.

    Args:
        address: Address, see `check_address`.
        code: Folder of the package that the experiment is from; None, or a script, for what cloudpickle sends whole.
    """
    import ray

    ray.init(address, runtime_env=runtime_env(code), log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> str:
    """The address of a cluster, as it is, where it has the form of one.

    Args:
        address: HOST:PORT of the head, or auto, where this machine is one of the nodes (`ray start --address HOST:PORT
            --num-cpus 0` makes it one that runs nothing); ray://HOST:PORT of the head's client server from anywhere.

    Raises:
        ValueError: The address has another form.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto" and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError(f"a Ray address is HOST:PORT, ray://HOST:PORT or auto; got {address!r}")
    return address


def reach(address: str) -> None:
    """Make sure that a cluster can be connected to: `ray.init` alone would try for minutes if it cannot.

    Raises:
        ConnectionError: No cluster answers at the address within `PATIENCE`.
        ModuleNotFoundError: Ray is not installed.
        ValueError: The address is not one, see `check_address`.
    """
    check_address(address)
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"runs on a Ray cluster need Ray: {INSTALL}", name="ray") from error
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
        except OSError as error:
            raise ConnectionError(f"no Ray cluster answers at {address}: {error}") from error
    # Something listens there. Whether it is a cluster, a process finds out that can be ended if it does not come back.
    command = [sys.executable, "-c", "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)", address]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"no Ray cluster answers at {address} within {PATIENCE:g} s") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
        raise ConnectionError(f"no Ray cluster answers at {address}: {reason}") from error


class RayTasks(ParallelBackendBase):  # type: ignore[misc]  # joblib is not typed
    """A joblib backend that makes a Ray task of each batch: any node with a free CPU takes it, and Ray repeats it.

    A batch that is lost in spite of that stops no other: its result is `Lost`.
    """

    supports_retrieve_callback = True  # so results can be had as they come: `return_as="generator_unordered"`

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least 2: joblib would not ask the backend for a single one, but work in the calling process."""
        return max(2, n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Get ready for the tasks of a `joblib.Parallel`."""
        import ray

        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
        # joblib submits the next batch in this callback, which Ray's own threads must not be kept by.
        self._callbacks = ThreadPoolExecutor(max_workers=1)
        return cast(int, super().configure(n_jobs, parallel, **options))

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], None]) -> Future[Any]:
        """Send a batch to the cluster."""

        def pass_on(ended: Future[Any]) -> None:
            with suppress(RuntimeError):  # the job was interrupted: nobody is waiting any more
                self._callbacks.submit(callback, ended)

        future: Future[Any] = self._task.remote(func).future()
        future.add_done_callback(pass_on)
        return future

    def terminate(self) -> None:
        """Let go of what is still being run."""
        self._callbacks.shutdown(wait=False)

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The batch's results, or `Lost`; runs answer for their own errors, so that Ray's are all that can come."""
        import ray

        try:
            return out.result()
        except ray.exceptions.RayError as error:
            return [Lost(f"{type(error).__name__}: {error}")]


def _call(func: Callable[[], Any]) -> Any:
    return func()


def runtime_env(code: Path | None) -> dict[str, Any]:
    """What the workers are started with: the code, and one thread, whatever their node's environment says."""
    folders = [Path(__file__).parents[2] / package for package in PACKAGES]
    if code is not None and code.is_dir() and code not in folders:
        folders.append(code)
    return {
        "py_modules": [str(folder) for folder in folders],
        "excludes": ["results/", "out/", "__pycache__/"],
        "env_vars": dict.fromkeys(ParallelBackendBase.MAX_NUM_THREADS_VARS, "1"),
    }
