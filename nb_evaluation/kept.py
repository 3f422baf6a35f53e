"""What several runs begin from, made once on a machine by whoever comes first, while the others wait."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nb_evaluation.files import write_atomically

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs may make the same thing at a time, and the later one is kept
    fcntl = None  # type: ignore[assignment]

_USER = f"-{os.getuid()}" if hasattr(os, "getuid") else ""

FOLDER = Path(tempfile.gettempdir()) / f"neural-battery-kept{_USER}"
"""Where it is kept, for each user of the machine apart; a run does not depend on whether it was found."""


def kept_name(kind: str, *decides: Any) -> str:
    """A name for `kept`: a kind, and the digest of all that decides the bytes, which JSON can hold."""
    return f"{kind}-{hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]}"


def kept(name: str, make: Callable[[], bytes], folder: Path | None = None) -> bytes:
    """The bytes that are kept under a name, or those that ``make`` gives, which are kept from then on.

    Args:
        name: A name that says everything that decides the bytes, as `kept_name` makes one.
        make: Function that makes them; it runs in one process at a time.
        folder: Folder of what is kept; None for `FOLDER`. What is damaged there is made anew.

    Raises:
        OSError: If the folder cannot be written to.
    """
    folder = FOLDER if folder is None else folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    with _alone(folder / f"{name}.lock"):
        with suppress(OSError):
            digest, content = (whole := path.read_bytes())[:32], whole[32:]
            if hashlib.sha256(content).digest() == digest:
                return content
        content = make()
        write_atomically(path, hashlib.sha256(content).digest() + content)
    return content


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is within; the lock goes with the process that holds it."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
