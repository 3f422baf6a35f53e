"""Files that are written whole or not at all, and stay the user's: their mode, their owner, the links to them."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not a POSIX system: temporary files carry no lock, and nobody takes one for abandoned
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".nb-", ".tmp"
"""Of the temporary files; what stands between is drawn, so that a long name stays within what a folder accepts."""


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file through a temporary one beside it, so that no reader ever finds half of it, even after a power cut.

    A link stays a link, and the file that it leads to is replaced; mode and owner of a file that was there are kept.
    A hard link is split: the file's other names keep what was there before. Temporary files that a killed process has
    left in the folder are removed.

    Args:
        path: A regular file, or one that is not there yet.
        content: All of its bytes.

    Raises:
        OSError: If the file cannot be written, or is a folder, a device or a pipe; an older one is as it was.
    """
    target = os.path.realpath(path)
    before = _regular(target, path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"cannot be written, as there is no folder {folder}", os.fspath(path))
    remove_abandoned(folder)
    file = _open_temporary(folder)
    try:
        with file:
            if before is not None:
                _keep(file.fileno(), before)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # Within the lock, or else another process could take the temporary file for abandoned.
            os.replace(file.name, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(file.name)
    _sync_folder(folder)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Find out, by writing a file there and removing it, whether a folder takes files.

    Raises:
        OSError: If it does not.
    """
    with _open_temporary(os.path.realpath(folder)) as file:
        try:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
        finally:
            os.unlink(file.name)


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove temporary files whose writer has ended: the lock that it held ends with it, however it died."""
    if fcntl is None:
        return
    with suppress(OSError):  # a folder that cannot be listed: then there is nothing that can be tidied up
        for name in os.listdir(folder):
            if name.startswith(PREFIX) and name.endswith(SUFFIX):
                with suppress(OSError):  # being written, gone by now, or another user's
                    _remove_unlocked(Path(folder, name))


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(descriptor)


def _regular(target: str, path: str | os.PathLike[str]) -> os.stat_result | None:
    """What is known of the file that is to be replaced; None if there is none."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, where a file is to be written", os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file, and is not replaced by one", os.fspath(path))
    if not os.access(target, os.W_OK):  # a rename would pass by the file's own protection
        raise PermissionError(errno.EACCES, "is write-protected", os.fspath(path))
    return found


def _open_temporary(folder: str) -> BinaryIO:
    """A new file with a name of its own, locked."""
    while True:
        file = open(os.path.join(folder, f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"), "xb")  # noqa: SIM115 (caller)
        if fcntl is None:
            return file
        with suppress(OSError):  # a file system without locks: others see that, and leave the file alone
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(file.name):
            return file
        file.close()  # between the two lines above, another process has found it without a lock, and removed it


def _keep(descriptor: int, before: os.stat_result) -> None:
    """Give a file the owner and the mode of another, before anything is written that not all may read."""
    if os.name != "posix":
        return
    now, mode = os.fstat(descriptor), stat.S_IMODE(before.st_mode)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except OSError:  # only root may give files away; then the group's rights would go to another group
            if now.st_gid != before.st_gid:
                mode &= ~stat.S_IRWXG
    os.fchmod(descriptor, mode)


def _sync_folder(folder: str) -> None:
    """Make the new name as lasting as the file."""
    if os.name != "posix":
        return
    with suppress(OSError):  # a folder that may not be read, or a file system that cannot do this: the file is there
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
