"""What a result depends on beside its specification: versions, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from nb_evaluation.files import write_atomically
from nb_evaluation.seal import seal

PACKAGES = ("neural-battery", "gymnasium", "stable-baselines3", "torch", "numpy")
"""The packages that could change a result; their versions are part of every run."""


def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`."""
    return {"python": platform.python_version()} | {package: metadata.version(package) for package in PACKAGES}


def commit(code: Path | None) -> str | None:
    """The checked-out commit of some code, with "-dirty" where tracked files have changed; None if there is none.

    A repository that the code merely lies in, as an environment's folder may, is not its own. Results may change: a job
    adds to them while it goes on.

    Args:
        code: Package's folder, in which `results` has the results, or a script; None for code that has no file.
    """
    if code is None:
        return None
    folder = code if code.is_dir() else code.parent
    try:
        if not _git(folder, "ls-files", "--", str(code)):
            return None
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude)results")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> dict[str, Any]:
    """The processor's model and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": next(iter(models), "") or platform.processor() or platform.machine(), "cores": os.cpu_count()}


def write_measurement(path: Path, code: Path, **figures: Any) -> None:
    """Write measured speeds, with what they depend on; `code` is that of `commit`."""
    report = {"versions": versions(), "commit": commit(code), "machine": machine()} | figures
    write_atomically(path, seal(report, indent=1))
