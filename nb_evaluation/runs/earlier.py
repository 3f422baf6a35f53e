"""Results of earlier versions: they are whole, and no runs in today's form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nb_evaluation.seal import unseal

FORMS = ({"versions", "commit"}, {"origin", "result"}, {"trial", "objective", "settings"}, {"trials", "seeds", "note"})
"""Entries by which such results are known: reports and measurements, single runs, and trials in lines and in a list."""

TODAY = {"spec", "part"}
"""Entries of which a run or a measurement in today's form has one."""

MADE_EARLIER = "was made by an earlier version in another form; it is kept as it is"


def is_earlier(data: Mapping[str, Any]) -> bool:
    """Whether this is what an earlier version has kept."""
    return any(form <= data.keys() for form in FORMS) and not data.keys() & TODAY


def earlier_files(folder: Path) -> list[Path]:
    """The files in a folder, though not below it, that an earlier version has left; of a list of trials, one tells."""
    found = sorted(path for pattern in ("*.json", "*.jsonl") for path in folder.glob(pattern))
    return [path for path in found if _is_earlier_file(path)]


def _is_earlier_file(path: Path) -> bool:
    try:
        content = path.read_bytes()
        return is_earlier(unseal(content if path.suffix == ".json" else content.partition(b"\n")[0]))
    except (OSError, RecursionError, TypeError, ValueError):
        return False
