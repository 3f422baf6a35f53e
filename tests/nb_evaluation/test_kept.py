"""What is made once on a machine: by one process at a time, and anew where it is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nb_evaluation.kept import kept

SLOW = """
import sys, time
from pathlib import Path
from nb_evaluation.kept import kept

def make():
    (Path(sys.argv[1]) / f"made-{sys.argv[2]}").touch()
    time.sleep(0.5)
    return b"content"

assert kept("name", make, Path(sys.argv[1])) == b"content"
"""


def test_what_is_kept_is_made_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"content"

    assert kept("name", make, tmp_path / "new") == kept("name", make, tmp_path / "new") == b"content"
    assert kept("another", make, tmp_path / "new") == b"content"
    assert len(made) == 2
    (tmp_path / "new" / "name").write_bytes(b"x" * 40)
    assert kept("name", make, tmp_path / "new") == b"content", "damaged"
    assert len(made) == 3
    (tmp_path / "new" / "name").write_bytes(b"")
    assert kept("name", make, tmp_path / "new") == b"content"


def test_of_two_processes_one_makes_it_and_the_other_waits(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", SLOW, str(tmp_path), str(i)] for i in range(3)]
    processes = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for command in commands]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("made-*"))) == 1


def test_what_fails_keeps_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        kept("name", fail, tmp_path)
    assert kept("name", lambda: b"", tmp_path) == b""
