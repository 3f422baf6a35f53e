"""What the report shows of a transfer job."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.methods import by_method
from benchmarks.protocol.run import Run
from benchmarks.questions.transfer.curves import picture_of_curves
from benchmarks.questions.transfer.gates import pictures_of_k
from benchmarks.questions.transfer.generalization import generalization_pictures, generalization_table
from benchmarks.questions.transfer.published import claim, published_table
from benchmarks.questions.transfer.scores import score_pictures
from benchmarks.questions.transfer.tables import BASELINE, gains, transfer_tables
from benchmarks.report.wording import describe_context
from nb_evaluation.report.style import Picture
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, against, without_gates
from nb_evaluation.report.wording import told_apart
from nb_evaluation.stats.estimates import interquartile_mean


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


def answer(runs: Sequence[Run]) -> Verdict | None:
    """The paper's claim and what became of it; without runs that bear on it, the gates against `BASELINE`."""
    found, what = gains(runs), f"Final return at {describe_context(runs[0].spec.target)}"
    finals = {
        name: float(interquartile_mean([run.summary.last_evaluations for run in group]))
        for name, group in by_method(runs).items()
    }
    compared = against(what, found, BASELINE, f"{what}: {told_apart(found, BASELINE)}.")
    return claim(runs) or compared or without_gates(what, finals)
