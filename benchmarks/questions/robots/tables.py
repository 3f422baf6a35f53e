"""The tables: what a target costs whom, what is kept of the source, and what others have published."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.robots.plan import MAIN
from benchmarks.questions.robots.published import published_table
from benchmarks.questions.robots.scores import (
    CONTROLS,
    RIVAL,
    SUBJECTS,
    Place,
    Score,
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
from nb_evaluation.stats.estimates import interquartile_mean, iqm, percent_improvement

NOTE = (
    "Returns, interquartile mean over the seeds [95 % CI]; worst seed. Zero-shot is the deterministic policy before any"
    " step in the target: the source's where a method adapts, and the first episode of a student, whose window begins"
    " empty. First 25 episodes: mean return of the training's own, exploration included, in 25 environments side by"
    " side with an update after every 100 decisions in each. After 25 episodes, which is after as many decisions as 25"
    " whole ones take, and in the end: the deterministic policy, over the same 10 starts for everyone. All that adapt"
    " share a source policy by seed, PPO's settings, and its statistics of observations and rewards, which stand still;"
    " critic and exploration's deviation train with every method."
)

KEPT = (
    "The default robot, after the training in a target: means over the targets, then the interquartile mean over the"
    " seeds [95 % CI]; worst seed. With the source's k's put back, `nb-k` and `nb-pro-k` are the source policy to the"
    " last bit; rows without a value in that column have changed weights, of which only a copy keeps anything."
)

AS_ABOVE = "What the columns are, and what all that adapt share, stands below the first table."


def robots_tables(runs: Sequence[Any]) -> list[Table]:
    """All tables, place by place."""
    tables = [_claim(runs), _controls(runs), _overview(runs)]
    for place in places(runs):
        rows = by_row(runs, place)
        tables += [_returns(rows, place), _against(rows, place)]
    tables += [_kept(runs), _held_out(runs), _metric(runs), _costs(runs), _exported(runs), published_table(runs)]
    return [table for table in tables if table.rows]


def robots_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether a student's first episode is above fine-tuning's first 25 on three of the cheetah's four targets."""
    found, levels, subject = {}, [], SUBJECTS[0]
    for place in places(runs):
        rows = by_row(runs, place)
        difference = gap(rows, subject, "final", RIVAL, "early") if place[:2] == ("HalfCheetah", 64) else None
        if difference and difference[1] >= FEWEST_SEEDS:
            found[place.target] = difference[0]
            both = zip(paired(rows, subject, RIVAL), ("final", "early"), strict=True)
            ours, theirs = (number(float(interquartile_mean(values(row, what)))) for row, what in both)
            levels.append(f"`{place.target}` {ours} against {theirs}, paired {interval(*difference, signed=True)}")
    if len(found) < len(ROBOTS["HalfCheetah"].targets):
        return None
    won = [f"`{name}`" for name, estimate in found.items() if estimate.low > 0.0]
    lost = [f"`{name}`" for name, estimate in found.items() if not estimate.low > 0.0]
    where = f"on {listed(won)}" if won else "on none of them"
    rest = f", and is not shown to be on {listed(lost)}" if lost and won else ""
    text = (
        f"A student that takes no gradient step in a target is above the mean of fine-tuning's first 25 episodes there"
        f" {where}{rest}: {len(won)} of {len(found)} changes of a cheetah."
    )
    enough = len(won) >= len(found) - 1
    more = (
        f"Returns of `{subject}`'s first episode against those of `{RIVAL}`'s first 25, interquartile means:"
        f" {'; '.join(levels)}. The student's gates were inserted into the source, tried both signs in each of a"
        " cheetah's contexts, these targets' kinds among them, and all went on training there; fine-tuning's source"
        " knows the default robot alone."
    )
    return Verdict(text, "better" if enough else "worse", more, word="works" if enough else "fails")


def _claim(runs: Sequence[Any]) -> Table:
    """The students' first episodes beside fine-tuning, target by target."""
    made = []
    for place in places(runs):
        rows = by_row(runs, place)
        for subject in SUBJECTS:
            ours, theirs = paired(rows, subject, RIVAL)
            difference = gap(rows, subject, "final", RIVAL, "early")
            if difference:
                levels = [values(ours, "final"), *(values(theirs, what) for what in ("early", "after", "final"))]
                cells = [*map(_cell, levels), interval(*difference, signed=True), str(difference[1])]
                made.append([_title(place), f"`{subject}`", *cells])
    heads = ["target", "student", "its first episode", f"first 25 episodes of `{RIVAL}`", f"`{RIVAL}` after 25"]
    heads += [f"`{RIVAL}` in the end", "first episode less first 25", "seeds"]
    return Table("No gradient step in the target, beside 25 episodes of them", heads, made, NOTE)


def _controls(runs: Sequence[Any]) -> Table:
    made = []
    for (subject, control), place in product(CONTROLS, places(runs)):
        rows = by_row(runs, place)
        both = paired(rows, subject, control)
        difference = gap(rows, subject, "final", control, "final")
        if difference:
            cells = [*(_cell(values(row, "final")) for row in both), interval(*difference, signed=True)]
            made.append([f"`{subject}`", f"`{control}`", _title(place), *cells, str(difference[1])])
    note = (
        "`randomised-source` goes on training as long as a `retrofit` and its student, over the same contexts, from the"
        " same source. `randomised` and `recurrent` train from nothing for as long as `student`; where tasks differ in"
        " what is paid for, all three observe the last reward. `scale-cma` searches the factor of all actions in as"
        " many episodes as `nb-k-cma` has."
    )
    heads = ["method", "control", "target", "method's return", "control's return", "difference", "seeds"]
    return Table("What could take the credit", heads, made, note)


def _overview(runs: Sequence[Any]) -> Table:
    """Where the methods that adapt end, a row for each target of each robot and width."""
    made = []
    for place in places(runs):
        rows = by_row(runs, place)
        each = [values(rows.get(name, {}), "final") for name in MAIN]
        cells = [
            f"{number(float(interquartile_mean(one)))}; {number(float(one.min()))}" if one.size else "" for one in each
        ]
        seeds = sorted({one.size for one in each} - {0})
        if seeds:
            made.append([_title(place), *cells, " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))])
    note = (
        "Returns in the end, interquartile mean over the seeds; worst seed. The intervals stand in the tables of each"
        " target. `nb-k-cma` and `scale-cma` end after 25 episodes, the others after 100,000 or 150,000 decisions."
    )
    return Table("Every target: in the end", ["target", *(f"`{name}`" for name in MAIN), "seeds"], made, note)


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
    return Table(f"{_title(place)}: returns", heads, made, AS_ABOVE)


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
    """What is left of the source at home, a row for each robot, width and method; means over the targets by seed."""
    made = []
    for home in dict.fromkeys(place[:2] for place in places(runs)):
        here = [by_row(runs, place) for place in places(runs) if place[:2] == home]
        for name in dict.fromkeys(name for rows in here for name in rows):
            each = [row for rows in here if (row := _trained(rows.get(name, {})))]
            seeds = [seed for seed in (each[0] if each else ()) if all(seed in row for row in each)]
            if seeds:
                scores = [[row[seed] for row in each] for seed in seeds]
                made.append([f"{home[0]}, {home[1]}", f"`{name}`", *_home(scores), str(len(seeds))])
    heads = ["robot, width", "method", "source before", "source after", "k's put back", "seeds"]
    return Table("What is kept of the source", heads, made, KEPT)


def _trained(row: dict[int, Score]) -> dict[int, Score]:
    return {seed: score for seed, score in row.items() if score.adaptation and score.home is not None}


def _home(scores: list[list[Score]]) -> list[str]:
    """Cells of the default robot: before, after, and with the k's put back."""
    before = np.array([each[0].adaptation.source_before for each in scores])
    after = np.array([np.mean([score.home for score in each]) for each in scores])
    back = [score.adaptation for each in scores for score in each if score.adaptation.source_swapped is not None]
    equal = sum(one.source_swapped == one.source_before for one in back)
    return [_cell(before), _cell(after), f"equal in {equal} of {len(back)}" if back else ""]


def _held_out(runs: Sequence[Any]) -> Table:
    made, heads = [], ["policy"]
    for name, robot in ROBOTS.items():
        each = {context: by_row(runs, Place(name, 64, ""), context) for context in robot.held_out}
        heads += [f"{name}, `{context}`" for context, rows in each.items() if rows]
        for row_name in dict.fromkeys(row for rows in each.values() for row in rows):
            row = [rows.get(row_name, {}) for rows in each.values()]
            made.append([f"`{row_name}`", *(_cell(values(one, "final")) for one in row), str(len(row[0]))])
    note = (
        "First episodes in contexts that no training has seen: a gravity below all, and back legs that are inverted"
        " while the fore legs are not. `teacher` is told the context, and `maml-k` has taken k steps of 25 episodes."
    )
    return Table("Held out", [*heads, "seeds"], made, note)


def _metric(runs: Sequence[Any]) -> Table:
    """The published expectation over MAML, in its metric."""
    made = []
    for place in places(runs):
        rows = by_row(runs, place)
        for subject, rival in product(SUBJECTS, [name for name in rows if name.startswith("maml-")]):
            ours, theirs = paired(rows, subject, rival)
            x, y = values(ours, "final"), values(theirs, "final")
            if x.size and y.all():
                found = percent_improvement(x, y, np.random.default_rng(0))
                cells = [interval(found.mean, len(x), signed=True), f"{found.positive} of {len(x)}"]
                made.append([_title(place), f"`{subject}`", f"`{rival}`", *cells])
    note = (
        "(ours − theirs) / |theirs| · 100, mean over the seeds [95 % CI]: ours is a student's first episode. The paper"
        " expects 50 to 65 % over MAML on MuJoCo and has measured nothing there. The metric means little where the"
        " rival's return is near 0 or below it, as here on most targets; the returns above say more."
    )
    heads = ["target", "student", "over", "improvement, %", "seeds improved"]
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
        " target. A family is trained on for as many steps as a cheetah's source and four adaptations are together;"
        " what begins at the source, as the `retrofit`s and `randomised-source` do, has the source's steps beside."
    )
    heads = ["robot, width", "policy", "numbers per task", "steps before", "steps there"]
    return Table("What it costs", heads, list(made.values()), note)


def _exported(runs: Sequence[Any]) -> Table:
    """What becomes of the policies whose k's alone have changed when they leave, run by run."""
    made = []
    for run in sorted(runs, key=lambda run: (run.spec.method, run.spec.seed)):
        if checks := run.result.checks:
            place = Place(run.spec.robot, run.spec.width, run.spec.target)
            apart = [f"{checks[name]:.1e}" for name in ("folded", "onnx")]
            cells = [*apart, number(checks["action"]), f"{checks['bytes'] / 1000:,.0f}"]
            made.append([_title(place), f"`{run.spec.method}`", *cells, str(run.spec.seed)])
    note = (
        "Gates in a policy of 256 × 256 units, trained in the target: folded into plain weights, and written as an ONNX"
        " file that ONNX Runtime runs. The largest difference of an action's number to the gated policy's, over the"
        " observations of 40 decisions in 25 environments, beside the largest number itself."
    )
    heads = ["target", "method", "folded: difference", "ONNX: difference", "largest action", "file, kB", "seed"]
    return Table("Folded and exported", heads, made, note)
