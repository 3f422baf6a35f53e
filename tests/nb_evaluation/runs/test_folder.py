"""The packed file of a job's folder."""

import json
import lzma
import threading
from dataclasses import replace

import pytest

from benchmarks.protocol.run import Run
from nb_evaluation import files
from nb_evaluation.runs import folder as folders
from nb_evaluation.runs.folder import PACK, pack, read_lines, read_runs
from nb_evaluation.seal import SEAL, unseal


@pytest.fixture
def runs(made_up_run):
    return [made_up_run(seed=seed) for seed in (2, 0, 1)]


def packed(folder):
    return lzma.decompress((folder / PACK).read_bytes()).splitlines()


def test_packing_keeps_every_byte_and_removes_the_files(runs, tmp_path):
    written = {run.write(tmp_path).read_bytes() for run in runs}
    pack(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [PACK]
    assert set(packed(tmp_path)) == written
    assert [json.loads(line)["spec"]["seed"] for line in packed(tmp_path)] == [0, 1, 2]
    assert read_runs(tmp_path, Run, runs[0].spec.shared) == {run.spec.name: run for run in runs}


def test_runs_that_come_later_are_packed_with_the_earlier_ones(runs, tmp_path):
    runs[0].write(tmp_path)
    pack(tmp_path)
    before = (tmp_path / PACK).read_bytes()
    pack(tmp_path)
    assert (tmp_path / PACK).read_bytes() == before
    for run in runs[1:]:
        run.write(tmp_path)
    assert len(read_runs(tmp_path, Run, runs[0].spec.shared)) == 3
    pack(tmp_path)
    assert len(packed(tmp_path)) == 3


def test_a_run_that_is_packed_and_has_a_file_is_one_run(runs, tmp_path):
    """As after a job that was killed between the two steps of packing."""
    runs[0].write(tmp_path)
    pack(tmp_path)
    again = replace(runs[0], wall_seconds=7.0)
    again.write(tmp_path)
    assert read_runs(tmp_path, Run, runs[0].spec.shared) == {runs[0].spec.name: again}
    pack(tmp_path)
    (line,) = packed(tmp_path)
    assert Run.from_line(line, "it") == again


def test_a_run_from_before_there_were_digests_gets_one(runs, tmp_path):
    path = runs[0].write(tmp_path)
    data = unseal(path.read_bytes())
    path.write_text(json.dumps(data))
    pack(tmp_path)
    (line,) = packed(tmp_path)
    assert SEAL in json.loads(line)
    assert unseal(line) == data


def test_a_file_that_is_no_run_stays_where_it_is_and_is_named(runs, tmp_path):
    good = runs[0].write(tmp_path)
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(ValueError, match=r"notes.json is not a run"):
        pack(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {good.name, "notes.json"}


def test_a_packed_file_that_cannot_be_written_leaves_the_runs(runs, tmp_path, monkeypatch):
    path = runs[0].write(tmp_path)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        pack(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_damage_is_named_with_its_line(runs, tmp_path):
    for run in runs:
        run.write(tmp_path)
    pack(tmp_path)
    lines = packed(tmp_path)
    lines[1] = lines[1].replace(b'"seed": 1', b'"seed": 5')
    (tmp_path / PACK).write_bytes(lzma.compress(b"".join(line + b"\n" for line in lines)))
    with pytest.raises(ValueError, match=rf"line 2 of {PACK} is not a run, or a damaged one"):
        read_runs(tmp_path, Run, runs[0].spec.shared)
    (tmp_path / PACK).write_bytes((tmp_path / PACK).read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"{PACK} is damaged"):
        read_lines(tmp_path)


@pytest.mark.parametrize("rest", [b"x", b"garbage" * 9, b"\xfd7zXZ\x00"])
def test_what_stands_behind_the_packed_runs_is_damage(runs, tmp_path, rest):
    runs[0].write(tmp_path)
    pack(tmp_path)
    path = tmp_path / PACK
    path.write_bytes(path.read_bytes() + rest)
    with pytest.raises(ValueError, match=rf"{PACK} is damaged"):
        read_lines(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no xz"])
def test_what_is_no_packed_file_is_damage(tmp_path, content):
    (tmp_path / PACK).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{PACK} is damaged"):
        read_lines(tmp_path)


def test_packed_files_one_after_another_are_one(runs, tmp_path):
    lines = [run.to_line() + b"\n" for run in runs]
    (tmp_path / PACK).write_bytes(b"".join(map(lzma.compress, lines)))
    assert [line.content + b"\n" for line in read_lines(tmp_path)] == lines


def test_a_folder_where_the_packed_file_should_be_is_named(runs, tmp_path):
    (tmp_path / PACK).mkdir()
    with pytest.raises(ValueError, match=rf"{PACK} is a folder, where a file of runs should be: move it elsewhere"):
        read_runs(tmp_path, Run, runs[0].spec.shared)


def test_who_reads_while_a_job_packs_finds_every_run(runs, tmp_path, monkeypatch):
    """The packed file is written, and the runs' own files are not gone yet: the reader waits."""
    for run in runs:
        run.write(tmp_path)
    found, packing = [], threading.Event()
    reader = threading.Thread(target=lambda: packing.wait(30) and found.extend(read_lines(tmp_path)))
    reader.start()

    def write(path, content):
        packing.set()
        reader.join(0.5)
        assert found == []
        files.write_atomically(path, content)

    monkeypatch.setattr(folders, "write_atomically", write)
    pack(tmp_path)
    reader.join(30)
    assert [line.where for line in found] == [f"line {number} of {PACK}" for number in (1, 2, 3)]


def test_a_damaged_run_is_not_packed(runs, tmp_path):
    path = runs[0].write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"-900.0", b"-800.0", 1))
    with pytest.raises(ValueError, match=rf"{path.name} is not a run, or a damaged one .*: remove it"):
        pack(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
