"""What each part of NB Pro is worth: one left out or changed at a time, seed by seed beside the whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.anchors import reference_returns
from benchmarks.arguments import add_seeds, count
from benchmarks.job import Question, add_job_options, publish, run_job
from benchmarks.methods import ABLATIONS, specify
from benchmarks.records import Run
from benchmarks.report import FEWEST_SEEDS, Table, by_method, caption, interval, number
from benchmarks.spec import FIRST_REPORTING_SEED, RunSpec
from benchmarks.statistics import PercentImprovement, iqm, paired_difference, percent_improvement

WHOLE = "nb-pro"
VARIANTS = ("nb", *ABLATIONS)
"""What is held against `WHOLE`; `nb` is NB Pro without blocks."""

PUBLISHED = {"nb-pro-no-k-target": -11.4, "nb-pro-no-clipping": -4.0, "nb": -7.4}
"""What the paper printed for leaving the part out, in per cent of its metric."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    add = parser.add_argument
    add("--methods", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="METHOD",
        help=f"the variants, beside {WHOLE} (default: {' '.join(VARIANTS)})")  # fmt: skip
    add_seeds(parser, default=30)
    add("--pretrain-episodes", type=count, default=50, metavar="N", help="budget at A = 1.0 (default: 50)")
    add("--transfer-episodes", type=count, default=100, metavar="N", help="budget at A = 1.8 (default: 100)")
    add_job_options(parser, "ablation")
    return parser


def _specifications(options: argparse.Namespace) -> list[RunSpec]:
    """Seed by seed, so that an interrupted job has whole comparisons.

    Raises:
        ValueError: a budget is not accepted.
    """
    budget = {name: getattr(options, name) for name in ("pretrain_episodes", "transfer_episodes")}
    specs = [
        specify(method, seed=seed, detail=False, **budget)
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds)
        for method in dict.fromkeys([WHOLE, *options.methods])
    ]
    reference_returns(specs[0].target)
    return specs


def _line(run: Run) -> str:
    return f"final {number(run.summary.final):>8}"


def _report(runs: Sequence[Run], folder: Path, command: str, console: Console) -> None:
    publish(tables(runs), figures(runs), f"{NOTES} {caption(runs, command)}", folder, console)


NOTES = (
    "Differences are paired by seed; negative means that NB Pro is better with the part than without. Paper's metric:"
    " best training episode of the transfer, mean of the differences in per cent of NB Pro's absolute value. Final"
    " return: of the deterministic policy over fixed starts, interquartile mean of the differences."
)


def tables(runs: Sequence[Run]) -> list[Table]:
    """The variants beside the whole, on the seeds that both have run; none where there is nothing to compare."""
    groups = by_method(runs)
    whole = {run.spec.seed: run for run in groups.pop(WHOLE, [])}
    rows = []
    for name, group in groups.items():
        pairs = [(run, whole[run.spec.seed]) for run in group if run.spec.seed in whole]
        if not pairs:
            continue
        ours, theirs = ([run.summary.final for run in side] for side in zip(*pairs, strict=True))
        percent = percent_change(pairs)
        rows.append([
            f"`{name}`",
            interval(percent.mean, len(pairs), signed=True),
            f"{percent.positive} of {percent.num_runs}",
            number(PUBLISHED[name], signed=True) if name in PUBLISHED else "",
            interval(iqm(ours, np.random.default_rng(0)), len(pairs)),
            interval(paired_difference(ours, theirs, np.random.default_rng(0)), len(pairs), signed=True),
            str(len(pairs)),
        ])  # fmt: skip
    columns = [
        "method", "paper's metric, % [95 % CI]", "seeds improved", "as printed, %",
        "final return [95 % CI]", "difference of the final return [95 % CI]", "seeds",
    ]  # fmt: skip
    return [Table(f"NB Pro with one thing changed, against `{WHOLE}`", columns, rows)] if rows else []


def percent_change(pairs: Sequence[tuple[Run, Run]]) -> PercentImprovement:
    """Change of the paper's metric from each second run to the first, in per cent.

    Raises:
        ValueError: a run has no training episode in its transfer.
    """
    best = [[run.summary.best_episode or np.nan for run in side] for side in zip(*pairs, strict=True)]
    return percent_improvement(best[0], best[1], np.random.default_rng(0))


def figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """An interval for each variant, by the figure's name: `ablation`; none where there are too few seeds for one."""
    groups = by_method(runs)
    whole = {run.spec.seed: run for run in groups.pop(WHOLE, [])}
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    names: list[str] = []
    for name, group in groups.items():
        pairs = [(run, whole[run.spec.seed]) for run in group if run.spec.seed in whole]
        if len(pairs) < FEWEST_SEEDS:
            continue
        mean, y = percent_change(pairs).mean, len(names)
        axes.plot([mean.low, mean.high], [y, y], color="#0072B2", linewidth=2)
        axes.plot([mean.point], [y], "o", color="#0072B2", label=None if names else "measured")
        if name in PUBLISHED:
            drawn = "as printed" in axes.get_legend_handles_labels()[1]
            axes.plot([PUBLISHED[name]], [y], "x", color="#D55E00", label=None if drawn else "as printed")
        names.append(name)
    if not names:
        return {}
    axes.axvline(0.0, color="0.5", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("change of the paper's metric against nb-pro (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return {"ablation": figure}


QUESTION = Question(
    name="ablation", parser=_parser(), specifications=_specifications, line=_line, report=_report
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
