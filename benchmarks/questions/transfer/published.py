"""The paper's claim beside what the runs give, in the paper's own metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.methods import by_method
from benchmarks.protocol.anchors import PUBLISHED, PUBLISHED_AS, is_published_protocol
from benchmarks.protocol.run import Run
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Tone, Verdict, listed
from nb_evaluation.report.wording import interval, number
from nb_evaluation.runs.groups import paired
from nb_evaluation.stats.estimates import PercentImprovement, paired_difference, percent_improvement

REFERENCE = "maml"
"""The method that the paper improves on."""

CLAIMANTS = ("nb", "nb-pro", "nb-k", "nb-pro-k")

PAPER_COLUMNS = (
    "method",
    "best training episode, mean",
    "as printed",
    "last 10 training episodes, mean",
    "as printed ",
    "improvement over `maml`, % [95 % CI]",
    "seeds improved",
    "improvement printed, %",
    "difference in return, interquartile mean [95 % CI]",
)
NOTE = (
    "The paper's metric is the best training episode of the transfer, and its improvement the mean over the seeds of"
    " (method − MAML) / |MAML|. A seed in which one of the two fails, or in which MAML ends near 0, decides such a"
    " mean; the paired difference in the last column leaves out the extreme quarters. Printed figures stand beside the"
    " published budget and contexts only."
)


def published_table(runs: Sequence[Run]) -> Table | None:
    """MAML and the gated methods in the paper's metric; None where neither MAML nor a method of the paper has run."""
    groups = by_method(runs)
    names = [name for name in (REFERENCE, *CLAIMANTS) if name in groups]
    if not set(names) & set(PUBLISHED_AS.values()):
        return None
    rows = [_row(name, runs) for name in names]
    return Table("Published and reproduced: the paper's own metric", PAPER_COLUMNS, rows, NOTE)


def _row(name: str, runs: Sequence[Run]) -> list[str]:
    group = by_method(runs)[name]
    printed = {ours: PUBLISHED[theirs] for theirs, ours in PUBLISHED_AS.items()}
    row = printed.get(name) if is_published_protocol(runs[0].spec) else None
    best = [score for run in group if (score := run.summary.best_episode) is not None]
    last = [score for run in group if (score := run.summary.last_episodes) is not None]
    cells = [
        f"`{name}`",
        number(float(np.mean(best))),
        number(row.best) if row else "",
        number(float(np.mean(last))),
        number(row.last) if row else "",
    ]
    pairs = best_episodes(runs, name)
    if name == REFERENCE or pairs is None:
        return [*cells, "", "", "", ""]
    gain = improvement(runs, name)
    difference = paired_difference(*pairs, np.random.default_rng(0))
    return [
        *cells,
        interval(gain.mean, gain.num_runs, signed=True) if gain else "",
        f"{gain.positive} of {gain.num_runs}" if gain else "",
        number(row.improvement, signed=True) if row and row.improvement is not None else "",
        interval(difference, len(pairs[0]), signed=True),
    ]


def best_episodes(runs: Sequence[Run], name: str) -> tuple[list[float], list[float]] | None:
    """Best training episodes of a method and of MAML on the seeds that both have run; None if there is no such seed."""
    pairs = [
        (best, baseline)
        for ours, theirs in paired(by_method(runs), REFERENCE).get(name, [])
        if (best := ours.summary.best_episode) is not None and (baseline := theirs.summary.best_episode) is not None
    ]
    return ([best for best, _ in pairs], [baseline for _, baseline in pairs]) if pairs else None


def improvement(runs: Sequence[Run], name: str) -> PercentImprovement | None:
    """A method's improvement over MAML in the paper's metric; None where no seed has both."""
    pairs = best_episodes(runs, name)
    return pairs and percent_improvement(*pairs, np.random.default_rng(0))


def claim(runs: Sequence[Run]) -> Verdict | None:
    """The paper's claim and what became of it: a sentence for each row, and which comes closest.

    None without runs of both sides at the published budget.
    """
    if not runs or not is_published_protocol(runs[0].spec):
        return None
    sentences, means, held = [], {}, True
    for theirs, ours in PUBLISHED_AS.items():
        printed, gain = PUBLISHED[theirs].improvement, improvement(runs, ours)
        if printed is None or gain is None:
            continue
        means[ours] = gain.mean.point
        held &= gain.mean.point >= printed and gain.positive == gain.num_runs
        mean = interval(gain.mean, gain.num_runs, signed=True)
        sentences.append(
            f"{theirs} against MAML in the paper's metric and budget: {mean} %"
            f" in the mean of {gain.num_runs} seeds, of which {gain.positive} improve; the paper printed"
            f" {number(printed, signed=True)} %."
        )
    if len(means) > 1:
        closest = max(means, key=lambda name: means[name])
        x, y = best_episodes(runs, closest) or ([], [])
        difference = interval(paired_difference(x, y, np.random.default_rng(0)), len(x), signed=True)
        sentences.append(
            f"The better of them is `{closest}`: without the extreme quarters of the seeds, its return differs from"
            f" MAML's by {difference}."
        )
    if not sentences:
        return None
    claimed = listed([f"{number(row.improvement)} % ({name})" for name, row in PUBLISHED.items() if row.improvement])
    what = f"The paper's claim, better than MAML by {claimed} with every seed,"
    tone: Tone = "better" if held else "worse"
    return Verdict(f"{what} {'holds' if held else 'does not hold'} here.", tone, " ".join(sentences))
