"""What the ablation is judged by: each variant of NB Pro against the whole, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.methods import by_method
from benchmarks.protocol.anchors import is_published_protocol
from benchmarks.protocol.run import Run
from nb_evaluation.runs.groups import difference, paired
from nb_evaluation.stats.estimates import Estimate, PercentImprovement, percent_improvement

WHOLE = "nb-pro"

PUBLISHED = {"nb-pro-no-k-target": -11.4, "nb-pro-no-clipping": -4.0, "nb": -7.4}
"""What the paper printed for leaving the part out, in per cent of its metric."""

Pairs = list[tuple[Run, Run]]
"""Runs of one seed: a variant's and `WHOLE`'s."""


def pairs_by_variant(runs: Sequence[Run]) -> dict[str, Pairs]:
    """The seeds that both a variant and the whole have run; variants without one are left out."""
    return paired(by_method(runs), WHOLE)


def printed(runs: Sequence[Run]) -> dict[str, float]:
    """`PUBLISHED`, where the runs have the paper's contexts and budget; else nothing."""
    return PUBLISHED if is_published_protocol(runs[0].spec) else {}


def percent_change(pairs: Pairs) -> PercentImprovement:
    """Change of the paper's metric from each second run to the first, in per cent.

    Raises:
        ValueError: A run has no training episode in its transfer.
    """
    best = [[run.summary.best_episode or np.nan for run in side] for side in zip(*pairs, strict=True)]
    return percent_improvement(best[0], best[1], np.random.default_rng(0))


def final_difference(pairs: Pairs) -> Estimate:
    """Difference of the final return, mean of the last 10 evaluations, each first run less the second."""
    return difference(pairs, lambda run: run.summary.last_evaluations)
