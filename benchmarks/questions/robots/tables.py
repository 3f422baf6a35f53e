"""The tables: what a target costs whom, what is kept of the source, and what others have published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.robots.published import published_table
from benchmarks.questions.robots.scores import (
    RIVAL,
    SUBJECT,
    Place,
    Scores,
    by_row,
    gap,
    paired,
    places,
    values,
)
from benchmarks.questions.robots.worlds import ROBOTS
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, listed
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.stats.estimates import iqm, percent_improvement

NOTE = (
    "Returns, interquartile mean over the seeds [95 % CI]; worst seed. Zero-shot is the deterministic policy before any"
    " step in the target: the source's where a method adapts, and the first episode of a student, whose window begins"
    " empty. First 25 episodes: mean return of the training's own, exploration included, in 25 environments side by"
    " side with an update after every 100 decisions in each. After 25 episodes and in the end: the deterministic"
    " policy, over the same 10 starts for everyone. All that adapt share a source policy by seed, PPO's settings, and"
    " its statistics of observations and rewards, which stand still; critic and exploration's deviation train with"
    " every method."
)

KEPT = (
    "The default robot, after the training in the target: interquartile mean over the seeds [95 % CI]; worst seed. With"
    " the source's k's put back, `nb-k` and `nb-pro-k` are the source policy to the last bit; rows without a value in"
    " that column have changed weights, of which nothing is left but what a copy keeps."
)


def robots_tables(runs: Sequence[Any]) -> list[Table]:
    """All tables, place by place."""
    tables = []
    for place in places(runs):
        rows = by_row(runs, place)
        tables += [_returns(rows, place), _against(rows, place)]
    tables += [_kept(runs), _held_out(runs), _metric(runs), _costs(runs), published_table(runs)]
    return [table for table in tables if table.rows]


def robots_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether the student's first episode is above fine-tuning's first 25 on three of the cheetah's four targets."""
    found, total = {}, len(ROBOTS["HalfCheetah"].targets)
    for place in places(runs):
        if place[:2] == ("HalfCheetah", 64):
            difference = gap(by_row(runs, place), SUBJECT, "final", RIVAL, "early")
            if difference and difference[1] >= FEWEST_SEEDS:
                found[place.target] = difference
    if len(found) < total:
        return None
    won = [f"`{name}`" for name, (estimate, _) in found.items() if estimate.low > 0.0]
    lost = [f"`{name}`" for name, (estimate, _) in found.items() if not estimate.low > 0.0]
    where = f"on {listed(won)}" if won else "on no target"
    rest = f", and is not shown to be on {listed(lost)}" if lost and won else ""
    text = (
        f"A student without a gradient step is above the mean of fine-tuning's first 25 episodes {where}{rest}:"
        f" {len(won)} of {total} changes of a cheetah."
    )
    each = "; ".join(f"`{name}` {interval(e, n, signed=True)}" for name, (e, n) in found.items())
    enough = len(won) >= total - 1
    more = f"Interquartile means of the paired differences of returns: {each}."
    return Verdict(text, "better" if enough else "worse", more, word="works" if enough else "fails")


def _title(place: Place) -> str:
    width = "" if place.width == 64 else f", {place.width} × {place.width}"
    return f"{place.robot}{width}, `{place.target}`"


def _cell(scores: NDArray[np.float64]) -> str:
    if not scores.size:
        return ""
    return f"{interval(iqm(scores, np.random.default_rng(0)), len(scores))}; {number(float(scores.min()))}"


def _returns(rows: Scores, place: Place) -> Table:
    whats = ("zero", "early", "after", "final")
    made = []
    for name, row in rows.items():
        kept = next(iter(row.values())).row.numbers
        cells = [_cell(values(row, what)) for what in whats]
        made.append([f"`{name}`", *cells, f"{kept:,}", str(len(row))])
    heads = ["method", "zero-shot", "first 25 episodes", "after 25 episodes", "in the end", "numbers per task", "seeds"]
    return Table(f"{_title(place)}: returns", heads, made, NOTE)


def _against(rows: Scores, place: Place) -> Table:
    """How far each method is above fine-tuning; what takes no step in the target, by its first episode each time."""
    made = []
    for name, row in rows.items():
        trained = any(score.adaptation for score in row.values())
        compared = [("", "early"), ("after", "after"), ("final", "final")] if trained else [
            ("final", theirs) for theirs in ("early", "after", "final")
        ]  # fmt: skip
        found = [gap(rows, name, ours, RIVAL, theirs) if ours else None for ours, theirs in compared]
        if name != RIVAL and any(found):
            cells = ["" if each is None else interval(*each, signed=True) for each in found]
            made.append([f"`{name}`", *cells, str(max(each[1] for each in found if each))])
    heads = ["method", "less its first 25 episodes", "less it after 25 episodes", "less it in the end", "seeds"]
    note = (
        f"Interquartile means of the paired differences to `{RIVAL}` [95 % CI]; the same seed has the same source. What"
        " has trained in the target is compared at the same step there, what has not by its first episode, and `maml-k`"
        " after its k steps."
    )
    return Table(f"{_title(place)}: above `{RIVAL}`", heads, made, note)


def _kept(runs: Sequence[Any]) -> Table:
    made = []
    for place in places(runs):
        for name, row in by_row(runs, place).items():
            trained = {s: score for s, score in row.items() if score.adaptation and score.home is not None}
            if not trained:
                continue
            both = [(score.adaptation.source_before, score.adaptation.source_swapped) for score in trained.values()]
            before = np.array([each[0] for each in both])
            exact = sum(one == other for one, other in both)
            swapped = f"equal in {exact} of {len(both)}" if all(each[1] is not None for each in both) else ""
            cells = [_title(place), f"`{name}`", _cell(before), _cell(values(trained, "home")), swapped]
            made.append([*cells, str(len(trained))])
    heads = ["target", "method", "source before", "source after", "k's put back", "seeds"]
    return Table("What is kept of the source", heads, made, KEPT)


def _held_out(runs: Sequence[Any]) -> Table:
    made = []
    for name, robot in ROBOTS.items():
        for context in robot.held_out:
            for row_name, row in by_row(runs, Place(name, 64, ""), context).items():
                made.append([f"{name}, `{context}`", f"`{row_name}`", _cell(values(row, "final")), str(len(row))])
    note = (
        "First episodes in contexts that no training has seen: a gravity below all, and back legs that are inverted"
        " while the fore legs are not. `teacher` is told the context, and `maml-k` has taken k steps of 25 episodes."
    )
    return Table("Held out", ["context", "policy", "return", "seeds"], made, note)


def _metric(runs: Sequence[Any]) -> Table:
    """The published expectation over MAML, in its metric."""
    made = []
    for place in places(runs):
        rows = by_row(runs, place)
        for rival in [name for name in rows if name.startswith("maml-")]:
            ours, theirs = paired(rows, SUBJECT, rival)
            x, y = values(ours, "final"), values(theirs, "final")
            if not x.size or not y.all():
                continue
            found = percent_improvement(x, y, np.random.default_rng(0))
            cells = [interval(found.mean, len(x), signed=True), f"{found.positive} of {len(x)}"]
            made.append([_title(place), f"`{rival}`", *cells])
    note = (
        f"(ours − theirs) / |theirs| · 100, mean over the seeds [95 % CI]: ours is the first episode of `{SUBJECT}`."
        " The paper expects 50 to 65 % over MAML on MuJoCo and has measured nothing there. The metric has no meaning"
        " where the rival's return is near 0 or below it, as here on most targets; the differences above have."
    )
    heads = ["target", "over", "improvement, %", "seeds improved"]
    return Table("The paper's metric over MAML", heads, made, note)


def _costs(runs: Sequence[Any]) -> Table:
    made: dict[tuple[str, str], list[str]] = {}
    for place in places(runs):
        for name, row in by_row(runs, place).items():
            one = next(iter(row.values())).row
            counts = [f"{count:,}" for count in (one.numbers, one.steps, one.steps_there)]
            made.setdefault(
                (f"{place.robot} {place.width}", name), [f"{place.robot}, {place.width}", f"`{name}`", *counts]
            )
    note = (
        "Numbers are those of the actor that differ between tasks: a student infers its k's, so that it stores none."
        " Steps before are decisions of all trainings, labels of a student included; steps there are those in one"
        " target. A cheetah's family is trained on for as many steps as the source and four adaptations are together."
    )
    heads = ["robot, width", "policy", "numbers per task", "steps before", "steps there"]
    return Table("What it costs", heads, list(made.values()), note)
