"""The tables of first episodes, of differences, and of what adapting has cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.spec import EPISODE_STEPS
from benchmarks.questions.single_pass.families import EVAL_STARTS, FAMILIES
from benchmarks.questions.single_pass.scores import SUBJECT, TURNED, Rows, best_of, by_row, pairs, returns
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, beats
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.stats.estimates import Estimate, interquartile_mean, iqm, paired_difference, percent_improvement
from nb_gym import controllers

HIDDEN = tuple(f"maml-{k}-short" for k in range(5))
"""Rows that only the paper's metric is made of."""

RIVALS = {
    "MAML, its first five episodes and one more": (*HIDDEN, "maml-5-short"),
    "MAML, up to five inner steps of three episodes": tuple(f"maml-{k}" for k in range(6)),
    "fine-tuning, 5 episodes": ("fine-tune-5",),
    "fine-tuning, 25 episodes": ("fine-tune-25",),
    "RecurrentPPO, its first five episodes": ("recurrent",),
}
"""What the student's first episode is held against, with the rows that hold the episodes."""

CONTROLS = ("blind", "context", "history", "recurrent", "numbers-student", "maml-5-short")
TRAINED_THERE = "maml-5"
NOTE = (
    "Returns of the deterministic policy in the first episode after the training, over the same 12 starts for everyone;"
    " point [95 % CI]; worst seed. Mean: over the contexts of a seed, then the interquartile mean over the seeds."
    " Middle: interquartile mean over seeds and contexts together, which contexts whose drive no torque cancels (gain"
    " ±0.5 at A > 1) do not decide. `maml-k` and `fine-tune-n` have trained in the context before. Knowing controller:"
    " in each context the better of two that are told it and act at each physics step; a mark, not a bound. The second"
    " episode has other starts, the same for everyone; what is remembered goes on."
)


def single_pass_tables(runs: Sequence[Any]) -> list[Table]:
    """All tables, family by family."""
    tables = []
    for family, described in FAMILIES.items():
        rows = {name: row for name, row in by_row(runs, family).items() if name not in HIDDEN}
        head = f"Family {family}, {described.summary}"
        parts = ("in range", "held out") if described.held_out else ("in range",)
        tables += [_first(rows, family, parts, head), _against(rows, family, parts, head)]
        tables += [_metric(by_row(runs, family), family, head), _turned(rows, head)]
    return [*(table for table in tables if table.rows), _costs(runs)]


def single_pass_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether the student's first episodes on M are above those of its controls; None without enough seeds."""
    rows = by_row(runs, "M")
    enough = [name for name in (*CONTROLS, TRAINED_THERE) if len(pairs(rows, name)[0]) >= FEWEST_SEEDS]
    gains = {name: _difference(rows, name, "M", "in range") for name in enough}
    each = ", ".join(f"`{name}` {interval(gain, FEWEST_SEEDS, signed=True)}" for name, gain in gains.items())
    gains.pop(TRAINED_THERE, None)  # after fifteen episodes in each context: what the first one is worth, no control
    found = beats(SUBJECT, gains, "In the first episode, with actuator and drive unknown,")
    return found and found._replace(more=f"Interquartile means over seeds and contexts in range of M: over {each}.")


def _iqm(values: NDArray[np.float64], worst: float) -> str:
    return f"{interval(iqm(values, np.random.default_rng(0)), len(values))}; {number(float(worst))}"


def _mean(values: NDArray[np.float64]) -> str:
    return _iqm(values, values.min())


def _middle(values: NDArray[np.float64]) -> str:
    return _iqm(values, interquartile_mean(values, axis=1).min())


def _first(rows: Rows, family: str, parts: Sequence[str], head: str) -> Table:
    made = []
    for name, row in rows.items():
        cells = [kind(returns(row, family, part)) for part in parts for kind in (_of_means, _middle)]
        again = all(len(each.returns) > 1 for each in row.values())
        second = _of_means(returns(row, family, "in range", 1)) if again else ""
        made.append([f"`{name}`", *cells, second, str(len(row))])
    marks = [number(float(f(knowing(family, part)))) for part in parts for f in (np.mean, interquartile_mean)]
    made += [["knowing controller", *marks, "", ""]] if made else []
    columns = [f"{part}, {kind}" for part in parts for kind in ("mean", "middle")]
    return Table(f"{head}: first episode", ["policy", *columns, "second episode, in range, mean", "seeds"], made, NOTE)


def _of_means(values: NDArray[np.float64]) -> str:
    return _mean(values.mean(axis=1))


@cache
def knowing(family: str, part: str) -> NDArray[np.float64]:
    """Returns of the better of two controllers that are told the context, `(contexts,)`."""

    def bang_bang(theta: Any, theta_dot: Any, t: Any, context: Any, rng: Any) -> Any:
        return np.sign(context.torque_gain) * controllers.bang_bang(theta, theta_dot, t, context, rng)

    contexts = FAMILIES[family].in_range if part == "in range" else FAMILIES[family].held_out
    options: dict[str, Any] = {"n_starts": EVAL_STARTS, "episode_steps": EPISODE_STEPS}
    both = (controllers.feed_forward(), bang_bang)
    return np.array([max(controllers.reference_return(one, **options, **each) for one in both) for each in contexts])


def _difference(rows: Rows, name: str, family: str, part: str, *, means: bool = False) -> Estimate:
    """How far the subject's first episodes are above another row's, seed by seed, in each context or in their mean."""
    ours, theirs = (returns(each, family, part) for each in pairs(rows, name))
    if means:
        ours, theirs = ours.mean(axis=1), theirs.mean(axis=1)
    return paired_difference(ours, theirs, np.random.default_rng(0))


def _against(rows: Rows, family: str, parts: Sequence[str], head: str) -> Table:
    made = []
    for name in rows:
        seeds = len(pairs(rows, name)[0])
        if name != SUBJECT and seeds:
            found = [_difference(rows, name, family, part, means=each) for part in parts for each in (True, False)]
            made.append([f"`{name}`", *(interval(each, seeds, signed=True) for each in found), str(seeds)])
    note = f"First episodes of `{SUBJECT}` less those of the row, paired by seed; mean and middle as above."
    columns = [f"{part}, {kind}" for part in parts for kind in ("mean", "middle")]
    return Table(f"{head}: `{SUBJECT}` less the others", ["policy", *columns, "seeds"], made, note)


def _metric(rows: Rows, family: str, head: str) -> Table:
    made = []
    for rival, names in RIVALS.items():
        seeds = [s for s in rows.get(SUBJECT, {}) if all(s in rows.get(name, {}) for name in names)]
        if seeds:
            ours = returns({seed: rows[SUBJECT][seed] for seed in seeds}, family, "in range")
            theirs = best_of(rows, names, seeds, family)
            each = ((ours - theirs) / np.abs(theirs) * 100.0).mean(axis=1)
            whole = percent_improvement(ours.mean(axis=1), theirs.mean(axis=1), np.random.default_rng(0))
            mean = interval(whole.mean, len(seeds), signed=True)
            counts = [f"{positive} of {len(seeds)}" for positive in (whole.positive, int((each > 0).sum()))]
            made.append([rival, mean, counts[0], _mean(each), counts[1]])
    note = (
        f"(ours − theirs) / |theirs| · 100, the paper's metric: ours is `{SUBJECT}`'s first episode in each context"
        " in range, theirs the best of all those named. Improvement: of the mean over the contexts, then the mean over"
        " the seeds. Context by context: mean over the contexts of each one's, then the interquartile mean over the"
        " seeds; worst seed. Improved: seeds above 0. All policies act deterministically, without exploring."
    )
    columns = ["over", "improvement, % [95 % CI]", "improved", "context by context, %", "improved "]
    return Table(f"{head}: the paper's metric", columns, made, note)


def _turned(rows: Rows, head: str) -> Table:
    made = []
    for name, row in rows.items():
        if all(each.flipped for each in row.values()):
            cells = [_mean(np.array([figure(each) for each in row.values()])) for figure in TURNED.values()]
            made.append([f"`{name}`", *cells])
    note = "Means over the contexts in range; the torque's sign turns around at decision 25 of 50; worst seed last."
    return Table(f"{head}: the actuator turns around in mid-episode", ["policy", *TURNED], made, note)


def _costs(runs: Sequence[Any]) -> Table:
    made: dict[str, list[str]] = {}
    for family in FAMILIES:
        for name, row in by_row(runs, family).items():
            one = next(iter(row.values()))
            counts = (one.numbers, one.episodes, one.gradient_steps, one.steps)
            made.setdefault(name, [f"`{name}`", *(f"{count:,}" for count in counts)])
    columns = ["policy", "numbers per context", "episodes before", "gradient steps", "environment steps in all"]
    note = "Environment steps: physics steps of all trainings and labels; those of an adaptation come on top."
    return Table("What adapting costs", columns, [row for name, row in made.items() if name not in HIDDEN], note)
