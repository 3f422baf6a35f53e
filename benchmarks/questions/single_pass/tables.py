"""The tables of first episodes, of differences, and of what adapting has cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.spec import EPISODE_STEPS
from benchmarks.questions.single_pass.families import EVAL_STARTS, FAMILIES
from benchmarks.questions.single_pass.scores import SUBJECT, TURNED, Part, Rows, best_of, by_row, means, pairs, parts
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, beats
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number
from nb_evaluation.stats.estimates import Estimate, iqm, paired_difference, percent_improvement
from nb_gym import controllers

HIDDEN = tuple(f"maml-short-{k}" for k in range(5))
"""Rows that only the paper's metric is made of."""

RIVALS = {
    "MAML, its first five episodes and one more": (*HIDDEN, "maml-short-5"),
    "MAML, up to five inner steps of three episodes": tuple(f"maml-{k}" for k in range(6)),
    "fine-tuning, 5 episodes": ("fine-tune-5",),
    "fine-tuning, 25 episodes": ("fine-tune-25",),
    "RecurrentPPO, its first five episodes": ("recurrent",),
}
"""What the student's first episode is held against, with the rows that hold the episodes."""

CONTROLS = ("blind", "history", "recurrent", "numbers-student")
"""Rows that know as little as the student does, and have not trained in the context either."""

OTHERS = ("maml-5", "fine-tune-25", "context")
"""Rows that have trained in the context, or are told it."""

NOTE = (
    "Returns of the deterministic policy in the first episode that is measured, over the same 12 starts for everyone:"
    " mean over a seed's contexts, then the interquartile mean over the seeds [95 % CI]; worst seed. In range are the"
    " contexts in which a torque can hold the pendulum, in all also those with gain ±0.5 at A > 1, which return −74 and"
    " −314 at best. `maml-k`, `maml-short-k` and `fine-tune-n` have trained in the context before (`k` steps, `n`"
    " episodes), and so has `oracle`; `context`, the retrofitted, and gates and numbers without `student` are told it."
    " All train on evened rewards, see the question's `learners.evened`. Knowing controller: in each context the better"
    " of two that are told it and act at each physics step; a mark, not a bound. The second episode has other starts; a"
    " student's window goes on into it."
)


def single_pass_tables(runs: Sequence[Any]) -> list[Table]:
    """All tables, family by family."""
    tables = []
    for family, described in FAMILIES.items():
        every = by_row(runs, family)
        rows = {name: row for name, row in every.items() if name not in HIDDEN}
        head = f"Family {family}, {described.summary}"
        tables += [_first(rows, family, head), _against(rows, family, head), _metric(every, family, head)]
        tables.append(_turned(rows, head))
    return [*(table for table in tables if table.rows), _costs(runs)]


def single_pass_answer(runs: Sequence[Any]) -> Verdict | None:
    """Whether the student's first episodes on M are above those of its controls; None without enough seeds."""
    rows, part = by_row(runs, "M"), parts("M")[0]
    enough = [name for name in (*CONTROLS, *OTHERS) if len(pairs(rows, name)[0]) >= FEWEST_SEEDS]
    gains = {name: _difference(rows, name, part) for name in enough}
    each = ", ".join(f"`{name}` {interval(gain, FEWEST_SEEDS, signed=True)}" for name, gain in gains.items())
    controls = {name: gain for name, gain in gains.items() if name in CONTROLS}
    found = beats(SUBJECT, controls, "In the first episode, with actuator and drive unknown,")
    more = (
        f"Interquartile means of the paired differences, contexts in range of M: over {each}. `maml-5` has had 15"
        " episodes in the context and `fine-tune-25` has had 25; `context` is told it."
    )
    return found and found._replace(more=more)


def _cell(values: NDArray[np.float64]) -> str:
    return f"{interval(iqm(values, np.random.default_rng(0)), len(values))}; {number(float(values.min()))}"


def _first(rows: Rows, family: str, head: str) -> Table:
    columns = parts(family)
    made = []
    for name, row in rows.items():
        again = all(len(each.returns) > 1 for each in row.values())
        second = _cell(means(row, columns[0], 1)) if again else ""
        made.append([f"`{name}`", *(_cell(means(row, part)) for part in columns), second, str(len(row))])
    marks = [number(float(knowing(family)[part.chosen].mean())) for part in columns]
    made += [["knowing controller", *marks, "", ""]] if made else []
    heads = ["policy", *(part.name for part in columns), "second episode, in range", "seeds"]
    return Table(f"{head}: first episode", heads, made, NOTE)


@cache
def knowing(family: str) -> NDArray[np.float64]:
    """Returns of the better of two controllers that are told the context, `(contexts,)`."""

    def bang_bang(theta: Any, theta_dot: Any, t: Any, context: Any, rng: Any) -> Any:
        return np.sign(context.torque_gain) * controllers.bang_bang(theta, theta_dot, t, context, rng)

    options: dict[str, Any] = {"n_starts": EVAL_STARTS, "episode_steps": EPISODE_STEPS}
    both = (controllers.feed_forward(), bang_bang)
    contexts = FAMILIES[family].contexts
    return np.array([max(controllers.reference_return(one, **options, **each) for one in both) for each in contexts])


def _difference(rows: Rows, name: str, part: Part) -> Estimate:
    """How far the subject's first episodes are above another row's, seed by seed."""
    ours, theirs = (means(each, part) for each in pairs(rows, name))
    return paired_difference(ours, theirs, np.random.default_rng(0))


def _against(rows: Rows, family: str, head: str) -> Table:
    columns, made = parts(family), []
    for name in rows:
        seeds = len(pairs(rows, name)[0])
        if name != SUBJECT and seeds:
            found = [interval(_difference(rows, name, part), seeds, signed=True) for part in columns]
            made.append([f"`{name}`", *found, str(seeds)])
    note = f"Interquartile means of the differences, `{SUBJECT}`'s first episode less that of the row of the same seed."
    heads = ["policy", *(part.name for part in columns), "seeds"]
    return Table(f"{head}: `{SUBJECT}` less the others", heads, made, note)


def _metric(rows: Rows, family: str, head: str) -> Table:
    columns, made = [part for part in parts(family) if part.name != "held out"], []
    for rival, names in RIVALS.items():
        seeds = [s for s in rows.get(SUBJECT, {}) if all(s in rows.get(name, {}) for name in names)]
        cells = []
        for part in columns if seeds else ():
            ours = means({seed: rows[SUBJECT][seed] for seed in seeds}, part)
            found = percent_improvement(ours, best_of(rows, names, seeds, part), np.random.default_rng(0))
            cells += [interval(found.mean, len(seeds), signed=True), f"{found.positive} of {len(seeds)}"]
        made += [[rival, *cells]] if cells else []
    note = (
        f"(ours − theirs) / |theirs| · 100, the paper's metric, mean over the seeds: ours is `{SUBJECT}`'s first"
        " episode, theirs in each context the best of all episodes named, both as means over the contexts. What is"
        " measured is deterministic; MAML and fine-tuning have explored to adapt, in episodes that do not count here."
    )
    heads = [head for part in columns for head in (f"{part.name}: improvement, %", f"{part.name}: seeds improved")]
    return Table(f"{head}: the paper's metric", ["over", *heads], made, note)


def _turned(rows: Rows, head: str) -> Table:
    made = []
    for name, row in rows.items():
        if all(each.flipped for each in row.values()):
            cells = [_cell(np.array([figure(each) for each in row.values()])) for figure in TURNED.values()]
            made.append([f"`{name}`", *cells])
    note = "Means over all contexts in range; the torque's sign turns around at decision 25 of 50; worst seed last."
    return Table(f"{head}: the actuator turns around in mid-episode", ["policy", *TURNED], made, note)


def _costs(runs: Sequence[Any]) -> Table:
    made: dict[str, list[str]] = {}
    for family in sorted(FAMILIES, key=lambda name: name != "M"):
        for name, row in by_row(runs, family).items():
            one = next(iter(row.values()))
            counts = (one.numbers, one.episodes, one.gradient_steps, one.episodes * EPISODE_STEPS, one.steps)
            made.setdefault(name, [f"`{name}`", *(f"{count:,}" for count in counts), family])
    heads = ["policy", "numbers per context", "episodes there before", "gradient steps there"]
    heads += ["environment steps there", "environment steps of training", "family"]
    note = (
        "Environment steps are physics steps; a student's are its teacher's and those of its labels. Numbers of a whole"
        " policy are its actor's. `oracle` trains in each context from the start. What a decision"
        " costs stands with the speeds, `python -m benchmarks speed inference`."
    )
    return Table("What adapting costs", heads, [row for name, row in made.items() if name not in HIDDEN], note)
