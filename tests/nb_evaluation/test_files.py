import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nb_evaluation import files
from nb_evaluation.files import check_writable, remove_abandoned, write_atomically

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and locks of POSIX")


def listing(folder):
    return sorted(os.listdir(folder))


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "new", b"content")
    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert listing(tmp_path) == ["new", "plain"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o666, 0o200])
def test_the_mode_is_kept(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert path.read_bytes() == b"new"


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    write_atomically(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)


@posix
def test_where_the_group_cannot_be_kept_its_rights_end(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o660)
    before = os.stat_result([*path.stat()[:5], path.stat().st_gid + 1, *path.stat()[6:]])
    monkeypatch.setattr(files.os, "fchown", lambda *_: (_ for _ in ()).throw(PermissionError))
    with path.open("rb") as file:
        files._keep(file.fileno(), before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("target", ["folder/real", "folder/not there yet"])
def test_links_are_followed(tmp_path, target):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_bytes(b"old")
    (tmp_path / "second").symlink_to(target)
    (tmp_path / "first").symlink_to(tmp_path / "second")
    write_atomically(tmp_path / "first", b"new")
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert (tmp_path / target).read_bytes() == b"new"
    assert listing(tmp_path) == ["first", "folder", "second"]


@posix
def test_what_is_no_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, number in (("pipe", errno.EINVAL), ("link", errno.EINVAL), ("folder", errno.EISDIR)):
        with pytest.raises(OSError, match=str(tmp_path / name)) as caught:
            write_atomically(tmp_path / name, b"new")
        assert caught.value.errno == number
    with pytest.raises(OSError, match="loop"):
        write_atomically(tmp_path / "loop", b"new")
    with pytest.raises(OSError, match="/dev/null"):
        write_atomically("/dev/null", b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert listing(tmp_path) == ["folder", "link", "loop", "pipe"]


def test_a_protected_file_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(PermissionError, match="write-protected"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_on_a_full_disk_the_old_file_is_as_it_was(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["file"]


def test_names_up_to_the_longest(tmp_path):
    path = tmp_path / ("x" * 255)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_that_takes_no_files(tmp_path):
    check_writable(tmp_path)
    assert listing(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        check_writable(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path / "file")


WRITER = """
import os, sys
from nb_evaluation import files
def wait(*_):
    print("open", flush=True)
    sys.stdin.read()
files.os.fsync = wait
files.write_atomically(sys.argv[1], b"new")
"""


@posix
def test_only_what_a_dead_process_has_left_is_removed(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    root = Path(files.__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as writer:
        assert writer.stdout.readline() == b"open\n"
        remove_abandoned(tmp_path)
        write_atomically(tmp_path / "other", b"")
        (temporary,) = (name for name in listing(tmp_path) if name != "other")
        assert temporary.startswith(files.PREFIX)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    mine = tmp_path / f"{files.PREFIX}folder{files.SUFFIX}"
    mine.mkdir()
    (tmp_path / f"{files.PREFIX}link{files.SUFFIX}").symlink_to("other")
    write_atomically(tmp_path / "file", b"newer")
    assert listing(tmp_path) == sorted(["file", "other", mine.name, f"{files.PREFIX}link{files.SUFFIX}"])


def test_a_link_into_a_missing_folder_is_named(tmp_path: Path) -> None:
    link, folder = tmp_path / "link", tmp_path / "gone"
    link.symlink_to(folder / "file")
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(link, b"new")
    assert caught.value.filename == str(link)
    assert caught.value.strerror == f"cannot be written, as there is no folder {folder}"
