"""Adds the digest to files of results from before there were digests: `python -m benchmarks reseal FOLDER`.

Nothing else in a file changes. A file that has a digest stays as it is, whether it agrees with it or not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.runs.records import JOB_FILE
from nb_evaluation.files import write_atomically
from nb_evaluation.seal import SEAL, add_seal, unseal


def main(args: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks reseal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to look, its subfolders included")
    added = 0
    for path in sorted(parser.parse_args(args).folder.rglob("*.json")):
        content = path.read_bytes()
        if path.name != JOB_FILE and f'"{SEAL}"'.encode() not in content:
            unseal(content)  # only what can be read
            write_atomically(path, add_seal(content))
            added += 1
    print(f"{added} files have a digest now")


if __name__ == "__main__":
    main()
