"""What a file of measured speeds holds: rows of one form, whatever was timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nb_evaluation.runs.provenance import write_measurement
from nb_evaluation.seal import check_types, unseal


@dataclass(frozen=True)
class Target:
    """What a median has to reach.

    Attributes:
        least: Lowest value that reaches it; None where that side is open.
        most: Highest value that reaches it; None where that side is open.
        unit: Unit of ours where it is judged by itself; empty where the ratio is.
    """

    least: float | None = None
    most: float | None = None
    unit: str = ""

    def judge(self, value: float) -> tuple[str, str]:
        """Write the target as text, and `yes` or `no`."""
        low, high = f"{self.least:g}" if self.least is not None else "", f"{self.most:g}" if self.most else ""
        text = f"{low} to {high}" if low and high else f"≥ {low}" if low else f"≤ {high}"
        reached = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return f"{text} {self.unit}".rstrip(), "yes" if reached else "no"


@dataclass(frozen=True)
class Row:
    """A comparison of ours with a peer, or a time of ours alone.

    Attributes:
        table: Name of the table, one of `tables.TABLES`.
        what: First cell of the row.
        unit: Unit of the samples.
        samples: Samples, one for each round, by contender: ours first, then the peer in each way to set it up. An older
            measurement may have kept the least, the median and the greatest only, or none but the ratios.
        target: What the median of the ratios, or of ours, has to reach.
        ratios: Ratios within the rounds; None where the samples give them.
        rounds: Number of rounds; None where each has its sample.
        quoted: Whether the peer was not run, and its samples are what it once took.
    """

    table: str
    what: str
    unit: str
    samples: dict[str, list[float]]
    target: Target | None = None
    ratios: list[float] | None = None
    rounds: int | None = None
    quoted: bool = False

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Row:
        """Read a row from JSON's types.

        Raises:
            TypeError: A field is missing, unknown, or of another type.
            ValueError: A sample or ratio is no positive number, or the contenders differ in rounds.
        """
        row = cls(**{**data, "target": Target(**data["target"]) if data.get("target") else None})
        check_types("row", row, Row)
        positive([*row.samples.values()], 2)
        if not row.samples or (row.ratios is None and not all(row.samples.values())):
            raise ValueError(f"{row.what} has neither samples nor ratios")
        if row.ratios is not None:
            positive(row.ratios, 1)
        return row


def positive(values: ArrayLike, ndim: int) -> NDArray[np.float64]:
    """Make an array of positive numbers.

    Raises:
        ValueError: One is not positive, or the values are not of that many dimensions.
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != ndim or not np.all(np.isfinite(array) & (array > 0)):
        raise ValueError(f"not positive numbers, {ndim}-dimensional: {values!r:.60}")
    return array


@dataclass(frozen=True)
class Measurement:
    """A file of measured speeds.

    Attributes:
        name: Name of the file.
        part: Name of the part, which is one of `report.PARTS`.
        command: Command that measured.
        commit: Commit of the code, or None.
        machine: The processor's model and the number of cores; None where the file does not say.
        versions: Versions of Python and the packages.
        rows: Rows, at least one.
    """

    name: str
    part: str
    command: str
    commit: str | None
    machine: dict[str, Any] | None
    versions: dict[str, str]
    rows: list[Row]

    @classmethod
    def read(cls, path: Path) -> Measurement:
        """Read a file.

        Raises:
            KeyError: A field is missing.
            OSError: The file cannot be read.
            TypeError: A field is missing, unknown, or of another type.
            ValueError: The file is damaged.
        """
        data = unseal(path.read_bytes())
        rows = [Row.parse(row) for row in data.pop("rows")]
        measurement = cls(name=path.name, rows=rows, **data)
        check_types("measurement", measurement, Measurement)
        if not rows:
            raise ValueError("it holds no rows")
        return measurement


def write_rows(path: Path, part: str, command: str, rows: list[Row]) -> None:
    """Write the rows of a part, with what they depend on."""
    write_measurement(path, Path(__file__).parents[1], part=part, command=command, rows=[asdict(row) for row in rows])
