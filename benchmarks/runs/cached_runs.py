"""Runs of the meta-learning scripts: one JSON file each, which names what made it and is never mixed with others."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import nb_agents
import nb_gym
from nb_evaluation.files import check_writable, write_atomically
from nb_evaluation.report.screen import track
from nb_evaluation.runs.provenance import commit, versions
from nb_evaluation.seal import check_types, seal, unseal

Result: TypeAlias = dict[str, Any]
"""What a run returns: JSON, with its method and seed."""


def add_arguments(parser: argparse.ArgumentParser, folder: str) -> None:
    """The arguments `--seeds` and `--runs` of a script whose run files go to ``folder`` by default."""
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(100, 105)), help="100 to 104 by default")
    parser.add_argument("--runs", type=Path, default=Path(folder), help="folder of the run files")


def cached_runs(
    methods: Sequence[str],
    seeds: Sequence[int],
    run: Callable[[str, int], Result],
    settings: Mapping[str, Any],
    folder: Path,
) -> list[Result]:
    """Every method with every seed: from its file, or run now and written there.

    Args:
        methods: The methods.
        seeds: The seeds.
        run: From method and seed to a result.
        settings: What the script sets for all of them, to be named in the files.
        folder: Where the files are; made if it is not there.

    Returns:
        The results, seed by seed.

    Raises:
        ValueError: If a file that is there is none of ours, or was made with other settings, versions or code; nothing
            was run then.
    """
    here = origin(run, settings)
    todo = [(method, seed, folder / f"{method}-{seed}.json") for seed in seeds for method in methods]
    found = {path: _read(path, here) for _, _, path in todo if path.exists()}
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder)
    results = []
    for method, seed, path in track(folder.name, todo, len(todo)):
        if path not in found:
            found[path] = run(method, seed)
            write_atomically(path, seal({"origin": here, "commit": commit(), "result": found[path]}))
        results.append(found[path])
    return results


def origin(run: Callable[[str, int], Result], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's result, beside its method and seed.

    Not the commit, which changes with every page of the docs and says nothing of files that are not committed, but a
    digest of the code: the two packages and the script that ``run`` comes from.
    """
    packages = [Path(inspect.getfile(package)).parent for package in (nb_agents, nb_gym)]
    files = [file for package in packages for file in sorted(package.rglob("*.py"))]
    code = hashlib.sha256()
    for file in [*files, Path(inspect.getfile(run))]:
        code.update(file.name.encode() + file.read_bytes())
    shown = {name: repr(value) for name, value in settings.items()}
    return {"settings": shown, "versions": versions(), "code": code.hexdigest()[:16]}


def write_report(path: Path, **content: Any) -> None:
    """Write results, with versions and commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content | {"versions": versions(), "commit": commit()}).encode())


def _read(path: Path, here: Mapping[str, Any]) -> Result:
    try:
        content = unseal(path.read_bytes())
        if content.keys() != {"origin", "commit", "result"}:
            raise ValueError(f"it holds {sorted(content)}")
        there, result = content["origin"], content["result"]
        check_types("origin", there, dict)
        check_types("result", result, dict)
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a run file, or a damaged one ({error!r}): remove it") from error
    differing = [name for name in here if there.get(name) != here[name]]
    if differing:
        raise ValueError(
            f"{path} was made with other {' and '.join(differing)} than those of today: choose another folder with "
            "--runs, or remove that one"
        )
    made: Result = result
    return made
