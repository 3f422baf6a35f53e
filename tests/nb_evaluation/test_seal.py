"""Digests of files of results: which have one, what they notice, and how older files get theirs."""

import json
from pathlib import Path

import pytest

import benchmarks
from nb_evaluation.runs.folder import JOB_FILE
from benchmarks.runs.reseal import main
from nb_evaluation.seal import SEAL, add_seal, seal, unseal

RESULTS = Path(benchmarks.__file__).parent / "results"
DATA = {"a": [1.25, -3], "b": {"c": "}"}}


def test_every_published_file_has_a_digest_that_holds():
    paths = [path for path in RESULTS.rglob("*.json") if path.name != JOB_FILE]
    assert len(paths) > 2000
    for path in paths:
        content = path.read_bytes()
        assert SEAL in json.loads(content), f"{path} has no digest: python -m benchmarks reseal {RESULTS}"
        assert SEAL not in unseal(content)


@pytest.mark.parametrize(
    "content",
    [json.dumps(DATA), json.dumps(DATA, indent=1), json.dumps(DATA) + "\n", json.dumps(DATA, separators=(",", ":"))],
)
def test_a_digest_added_later_holds_and_changes_no_other_byte(content):
    sealed = add_seal(content.encode())
    assert unseal(sealed) == DATA
    assert sealed.decode().startswith(content.rstrip()[:-1].rstrip())
    with pytest.raises(ValueError, match=r"^its contents do not agree with its digest$"):
        unseal(sealed.replace(b"1.25", b"1.35"))


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 1} x', b"7"])
def test_what_is_no_object_gets_no_digest(content):
    with pytest.raises(ValueError, match=r"^its last character must be the brace of an object$"):
        add_seal(content)


def test_the_command_adds_digests_once_and_leaves_job_files_alone(tmp_path, capsys):
    (tmp_path / "inner").mkdir()
    older, newer, job = tmp_path / "inner" / "a.json", tmp_path / "b.json", tmp_path / JOB_FILE
    older.write_text(json.dumps(DATA))
    newer.write_bytes(seal(DATA))
    job.write_text("{}")
    for added in (1, 0):
        main([str(tmp_path)])
        assert capsys.readouterr().out == f"{added} files have a digest now\n"
    assert older.read_bytes() == newer.read_bytes() == seal(DATA)
    assert job.read_text() == "{}"
