"""The sentence of advice: what to adapt, whether to begin anew, or to leave the policy as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nb_agents.comparison.methods import ADAPTING, METHODS
from nb_agents.comparison.specification import Row
from nb_agents.comparison.tables import by_row, digits_of, final_returns, gap_between, task
from nb_evaluation.report.verdict import Tone, Verdict
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.stats.estimates import Estimate, interquartile_mean, paired_difference

ANEW = "scratch"


def answer(runs: Sequence[Any]) -> Verdict | None:
    """What to do.

    Of the methods that begin at the source and end above where they began it is the best, or the one with the fewest
    numbers that cannot be told from it; a new policy, where that ends above the best; nothing, where none has gained.
    """
    every = by_row(runs)
    rows = {name: each for name, each in every.items() if name in ADAPTING}
    if len(rows) < 2:
        return None
    digits, about = digits_of(every), task(runs[0].spec)
    scores = {name: float(interquartile_mean(final_returns(each))) for name, each in rows.items()}
    after = f"after {max(row.steps[-1] for each in rows.values() for row in each.values()):,} steps"
    if min(gap_between(rows, one, other)[1] for one in rows for other in rows) < FEWEST_SEEDS:
        ends = "; ".join(f"`{name}` {number(score, digits=digits)}" for name, score in scores.items())
        first = " and ".join(f"`{name}`" for name, score in scores.items() if score == max(scores.values()))
        text = f"{first} ended highest {after}, but with fewer than {FEWEST_SEEDS} seeds methods cannot be told apart."
        return Verdict(text, "open", f"{about}: {ends}.")
    gains = {name: _gain(each) for name, each in rows.items()}
    gaining = [name for name in rows if gains[name][0].low > 0.0]
    best = max(gaining or rows, key=lambda name: scores[name])
    gaps = {name: gap_between(every, best, name) for name in every if name != best}
    said = {name: interval(*gap, signed=True, digits=digits) for name, gap in gaps.items()}
    gain = interval(*gains[best], signed=True, digits=digits)
    tone: Tone = "open"
    if ANEW in gaps and gaps[ANEW][0].high < 0.0:
        text = f"Train a new policy: `{best}`, the best that was adapted, is {said[ANEW]} over `{ANEW}` {after}."
    elif not gaining:
        text = f"Adapt nothing: {after} no method is above the policy as it came; `{best}` is {gain} over it."
    else:
        alike = [name for name in gaining if name != best and not gaps[name][0].low > 0.0]
        chosen = min((best, *alike), key=lambda name: _numbers(rows[name]))
        if chosen == best:
            second = max((name for name in rows if name != best), key=lambda name: scores[name])
            why = f"{said[second]} over `{second}` {after}, and {gain} over the policy as it came"
        else:
            why = f"its {_numbers(rows[chosen]):,} numbers cannot be told from `{best}`, {said[chosen]} over it {after}"
        text, tone = f"Adapt `{chosen}`: {why}.", "better" if METHODS[chosen].gates else "worse"
    others = "; ".join(f"{each} over `{name}`" for name, each in said.items() if each)
    return Verdict(text, tone, f"{about}: `{best}` is {gain} over the policy as it came; {others}.", word="advice")


def _gain(rows: dict[int, Row]) -> tuple[Estimate, int]:
    """How far a method ends above the policy as it came, and in how many seeds."""
    before = np.array([row.returns[0] for row in rows.values()])
    return paired_difference(final_returns(rows), before, np.random.default_rng(0)), len(rows)


def _numbers(rows: dict[int, Row]) -> int:
    return next(iter(rows.values())).numbers
