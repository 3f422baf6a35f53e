"""Digests of results: which have one, what they notice, and how older ones get theirs."""

import json
from pathlib import Path

import pytest

import benchmarks
from nb_evaluation.runs.folder import JOB_FILE, PACK, read_lines
from nb_evaluation.seal import SEAL, add_seal, unseal

RESULTS = Path(benchmarks.__file__).parent / "results"
DATA = {"a": [1.25, -3], "b": {"c": "}"}}


def test_every_published_run_and_file_has_a_digest_that_holds():
    paths = [path for path in RESULTS.rglob("*.json") if path.name != JOB_FILE]
    lines = [line.content for path in RESULTS.rglob(PACK) for line in read_lines(path.parent)]
    assert len(lines) > 2000
    for content in [*lines, *(path.read_bytes() for path in paths)]:
        assert SEAL in json.loads(content)
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
