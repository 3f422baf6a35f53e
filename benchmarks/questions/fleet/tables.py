"""The table and the figure of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nb_evaluation.method import Described, Style
from nb_evaluation.report.style import Picture, scale_returns, tidy
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict
from nb_evaluation.report.wording import interval, number
from nb_evaluation.runs.groups import by_method, difference, paired
from nb_evaluation.stats.estimates import interquartile_mean, iqm

METHODS = {
    "fleet": Described(summary="a k-set each, one learn()", row=1, style=Style("#0072B2", "-", "o")),
    "separate": Described(summary="a k-set each, a learn() each", row=2, style=Style("#009E73", "--", "s")),
    "one-scale": Described(summary="a fleet with one scale of rewards", row=3, style=Style("#CC79A7", "-.", "D")),
    "shared": Described(summary="one k-set for all", row=4, style=Style("#D55E00", ":", "^")),
    "start": Described(summary="the policy as it was", row=5, style=Style("#000000", ":", "x")),
}


def score(run: Any) -> float:
    """Interquartile mean of a run's returns over its robots."""
    return float(interquartile_mean(run.result.returns))


def fleet_tables(runs: Sequence[Any]) -> list[Table]:
    """What the robots return, and how far a fleet is above each other method, seed by seed."""
    groups, rows = by_method(runs, METHODS), []
    pairs = paired(groups, "fleet")
    for name, group in groups.items():
        scores, n = np.array([score(run) for run in group]), len(group)
        better = ""
        if name in pairs:
            found = difference([(theirs, ours) for ours, theirs in pairs[name]], score)
            better = interval(found, len(pairs[name]), signed=True, digits=2)
        mean = np.mean([np.mean(run.result.returns) for run in group])
        learns = f"{np.mean([run.result.learns for run in group]):g}"
        shown = interval(iqm(scores, np.random.default_rng(0)), n, digits=2)
        rows.append([f"`{name}`", METHODS[name].summary, shown, better, number(float(mean), digits=2), learns, str(n)])
    columns = ["method", "", "return [95 % CI]", "`fleet` − this", "mean over robots", "calls of learn()", "seeds"]
    spec = runs[0].spec
    note = (
        f"Returns of episodes of 50 decisions, interquartile means over {spec.robots} robots, each of which trains for"
        f" {spec.episodes} episodes with every method. Differences: seed by seed."
    )
    return [Table("Robots with dynamics of their own, after adapting", columns, rows, note)]


def fleet_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether a fleet reaches what separate adaptations reach; None without both."""
    pairs = paired(by_method(runs, METHODS), "separate").get("fleet", [])
    if not pairs:
        return None
    found = difference(pairs, score)
    more = f"Fleet − separate: {interval(found, len(pairs), signed=True, digits=2)}."
    if found.low > 0.0:
        return Verdict("Robots that adapt at once are above those that adapt one by one.", "better", more, "above")
    if found.high < 0.0:
        return Verdict("Robots that adapt at once are below those that adapt one by one.", "worse", more, "below")
    said = "Robots that adapt at once cannot be told from those that adapt one by one."
    return Verdict(said, "same", more, "as good")


def fleet_pictures(runs: Sequence[Any]) -> list[Picture]:
    """Returns of all robots, from the worst to the best, a line for each method."""
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, group in by_method(runs, METHODS).items():
        returns = np.sort([run.result.returns for run in group], axis=1)
        share = (np.arange(returns.shape[1]) + 0.5) / returns.shape[1]
        style = METHODS[name].style
        axes.plot(share, np.median(returns, axis=0), style.line, color=style.colour, label=name)
    axes.set(xlabel="share of the robots that return less", ylabel="return after adapting")
    axes.legend(frameon=False, fontsize=9)
    scale_returns(axes)
    tidy(axes)
    alt = "Returns of the robots in rising order, a line for each method."
    return [Picture("Returns of the robots", alt, "Lines: medians over the seeds.", figure, "fleet")]
