"""What the report shows of an ablation job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.protocol.run import Run
from benchmarks.questions.ablation.scores import WHOLE, final_difference, pairs_by_variant, percent_change, printed
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Tone, Verdict, are, listed
from nb_evaluation.report.wording import interval, number
from nb_evaluation.stats.estimates import iqm

ABLATION_COLUMNS = (
    "method",
    "paper's metric, % [95 % CI]",
    "seeds improved",
    "as printed, %",
    "final return [95 % CI]",
    "difference of the final return [95 % CI]",
    "seeds",
)
NOTE = (
    "Differences are paired by seed; negative means that NB Pro is better as it is. Paper's metric: best training"
    " episode of the transfer, mean of the differences in per cent of NB Pro's absolute value. Final return: of the"
    " deterministic policy over fixed starts, mean of the last 10 evaluations; interquartile mean over the seeds, and"
    " interquartile mean of the differences."
    " Printed figures stand beside the published budget and contexts only."
)


def tables(runs: Sequence[Run]) -> list[Table]:
    """The variants beside the whole, on the seeds that both have run; none where there is nothing to compare."""
    rows, published = [], printed(runs)
    for name, pairs in pairs_by_variant(runs).items():
        percent, num_seeds = percent_change(pairs), len(pairs)
        rows.append([
            f"`{name}`",
            interval(percent.mean, num_seeds, signed=True),
            f"{percent.positive} of {percent.num_runs}",
            number(published[name], signed=True) if name in published else "",
            interval(iqm([run.summary.last_evaluations for run, _ in pairs], np.random.default_rng(0)), num_seeds),
            interval(final_difference(pairs), num_seeds, signed=True),
            str(num_seeds),
        ])  # fmt: skip
    return [Table(f"NB Pro with one thing changed, against `{WHOLE}`", ABLATION_COLUMNS, rows, NOTE)] if rows else []


def answer(runs: Sequence[Run]) -> Verdict | None:
    """What the paper printed for leaving a part out, and what became of it; None where the runs do not bear on it."""
    variants = pairs_by_variant(runs)
    sentences: list[str] = []
    costs: list[str] = []
    others: list[str] = []
    for name, value in printed(runs).items():
        if name in variants:
            percent = percent_change(variants[name])
            (costs if percent.mean.high < 0.0 else others).append(f"`{name}`")
            sentences.append(
                f"`{name}` against `{WHOLE}` in the paper's metric and budget:"
                f" {interval(percent.mean, percent.num_runs, signed=True)} % in the mean of {percent.num_runs} seeds,"
                f" of which {percent.positive} improve; the paper printed {number(value, signed=True)} %."
            )
    if not sentences:
        return None
    tone: Tone = "same" if not costs else "open" if others else "better"
    parts = [f"{listed(costs)} {are(costs)} worse than `{WHOLE}`"] if costs else []
    parts += [f"{listed(others)} {are(others)} not shown to be"] if others else []
    what = "Of the variants that the paper says are worse"
    return Verdict(f"{what}, {' and '.join(parts)}.", tone, " ".join(sentences))
