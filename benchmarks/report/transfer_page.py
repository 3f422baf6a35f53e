"""What the report shows of a transfer job."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures.curves import picture_of_curves
from benchmarks.figures.gates import pictures_of_k
from benchmarks.figures.scores import score_pictures
from benchmarks.figures.style import Picture
from benchmarks.generalization import generalization_pictures, generalization_table
from benchmarks.records import Run
from benchmarks.report.published import claim, published_table
from benchmarks.report.tables import Table
from benchmarks.report.transfer_tables import transfer_tables


def tables(runs: Sequence[Run]) -> list[Table]:
    """All tables."""
    return [*transfer_tables(runs), *filter(None, (published_table(runs), generalization_table(runs)))]


def figures(runs: Sequence[Run]) -> list[Picture]:
    """All figures."""
    return [
        picture_of_curves(runs),
        *score_pictures(runs),
        *pictures_of_k(runs),
        *generalization_pictures(runs),
    ]


def answer(runs: Sequence[Run]) -> str:
    """The paper's claim, and what became of it; empty where the runs do not bear on it."""
    return claim(runs)
