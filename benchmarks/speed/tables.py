"""Tables of speed, of one form: ours, the peer, the ratio with its range, the target and whether it is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.rows import Measurement, Row
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import number

Samples = NDArray[np.float64]


def median_and_range(samples: Samples) -> str:
    """Write `median [least, greatest]` of samples, shape `(rounds,)`."""
    median, low, high = np.median(samples), samples.min(), samples.max()
    digits = 2 if median < 10 else 1
    return "{} [{}, {}]".format(*(number(float(value), digits=digits) for value in (median, low, high)))


def _three_digits(samples: Samples) -> str:
    return number(float(f"{np.median(samples):.3g}"), digits=0)


def _two_decimals(samples: Samples) -> str:
    return number(float(np.median(samples)), digits=2)


def _least(samples: Samples) -> str:
    return number(float(samples.min()), digits=2)


@dataclass(frozen=True)
class Form:
    """What is special about a table.

    Attributes:
        title: Title.
        note: What a reader has to know to read the columns.
        ours: Head of our column.
        peer: Head of the peer's column.
        ratio: Head of the ratio's column.
        rounds: Head of the column with the number of rounds.
        cell: Makes the text of our samples and of the peer's; None where their names are shown.
        over: Makes ratios from our samples and the peer's.
        least: Whether the least of the rounds counts, and not the median of the ratios within them.
    """

    title: str
    note: str
    ours: str
    peer: str
    ratio: str = "time over the peer's [min, max]"
    rounds: str = "rounds"
    cell: Callable[[Samples], str] | None = median_and_range
    over: Callable[[Samples, Samples], Samples] = np.divide
    least: bool = False


TABLES = {
    "environments": Form(
        title="Environments: steps per second",
        note="More is better. Medians; where a peer can be set up in several ways, the fastest of each round stands for"
        " it. Ours steps `NBPendulum-v0`.",
        ours="ours, steps/s",
        peer="peer, steps/s",
        ratio="speed over the peer's [min, max]",
        cell=_three_digits,
    ),
    "gates": Form(
        title="Gates: `learn` and `predict` beside SB3's policy",
        note="Less is better. `learn` is timed in pairs of runs, `predict` in pairs of 500 calls with one observation."
        " Gated policies step with PyTorch's fused Adam, SB3's do not; the control tells what the optimizer alone"
        " saves. With 64 environments of our vector class the network takes nearly all of the time; there all"
        " variants take turns, and gated ones stand beside SB3's policy as it is and with the optimizer that they"
        " have.",
        ours="ours",
        peer="peer",
        rounds="pairs",
        cell=None,
    ),
    "k-sets": Form(
        title="k-sets: swapping one, and one per row",
        note="Less is better. A swap has no peer; for a k-set per row it is the same policy with one k-set for all"
        " rows. `per_row` is opened once for as many passes as wanted, and that time is not part of the ratio.",
        ours="ours, µs [min, max]",
        peer="peer, µs [min, max]",
    ),
    "computed k": Form(
        title="Computed k's: `predict` and `learn` beside SB3's policy",
        note="Less is better. A student decides from its last eight transitions, and keeps them; the peer keeps"
        " nothing. Conditioned gates learn beside a policy with the context in its observation.",
        ours="ours",
        peer="peer",
        cell=None,
    ),
    "robots": Form(
        title="Robots: 64 half-cheetahs with 64 contexts",
        note="More is better, but of a reset, in µs of one robot. Each of ours has a gravity, friction, mass, damping"
        " and gain of its own.",
        ours="ours, steps/s",
        peer="peer, steps/s",
        ratio="speed over the peer's [min, max]",
        cell=_three_digits,
    ),
    "maml": Form(
        title="MAML: processor seconds of a meta-iteration",
        note="More is better. Navigation2D, 80,000 environment steps, medians. Ours estimates the Fisher matrix on a"
        " part of the samples; the rows of all samples compute it as the peers do.",
        ours="ours, s",
        peer="peer, s",
        ratio="peer's time over ours [min, max]",
        cell=_two_decimals,
        over=lambda ours, peer: peer / ours,
    ),
    "tasks": Form(
        title="MAML: time by the number of tasks",
        note="Less is better. Least of the rounds; the target is linear growth.",
        ours="ours, s",
        peer="ours with the fewest tasks, s",
        ratio="ratio",
        cell=_least,
        least=True,
    ),
    "runtime": Form(
        title="Runtime: acting without PyTorch",
        note="Less is better. A process is timed from its start to its first action, and its memory is the most that it"
        " had by then; both sides load a policy of 64-64 and its k-sets. Beside them is a process that imports PyTorch"
        " and does nothing, which no program with PyTorch goes below.",
        ours="ours [min, max]",
        peer="peer [min, max]",
        ratio="over the peer's [min, max]",
    ),
}
"""Forms by the name in a row, in the order of the page."""


def make_tables(runs: Sequence[Measurement]) -> list[Table]:
    """Make all tables of measurements, which may have several files for a part.

    Raises:
        KeyError: A row is of an unknown table.
    """
    by_table: dict[str, list[Measurement]] = {name: [] for name in TABLES}
    for each in runs:
        for name in dict.fromkeys(row.table for row in each.rows):
            by_table[name].append(each)
    return [_table(name, files) for name, files in by_table.items() if files]


def _table(name: str, files: Sequence[Measurement]) -> Table:
    """Make one table; rows of the same name in several files are taken together."""
    form, groups = TABLES[name], dict[tuple[str, str], list[Row]]()
    for row in (row for file in files for row in file.rows if row.table == name):
        groups.setdefault((row.what, next(iter(row.samples))), []).append(row)
    heads = ("what", form.ours, form.peer, form.ratio, form.rounds, "target", "reached")
    apart = [f"{what}, {ours}: {_medians(form, rows)}" for (what, ours), rows in groups.items()
             if len(rows) > 1 and rows[0].target]  # fmt: skip
    note = form.note
    if apart:
        names = " and ".join(f"`{each.name}`" for each in files)
        note += f" {form.rounds.capitalize()} from {names} are taken together; the medians apart, with their"
        note += f" {form.rounds}: {'; '.join(apart)}."
    where = "a machine that the file does not name"
    if files[0].machine is not None:
        where = "{cpu}, {cores} cores".format(**files[0].machine)
    commands = " and ".join(f"`{each.command}`" for each in files)
    note += f" Measured on {where}, at {files[0].commit or 'no commit'} by {commands}."
    return Table(form.title, heads, [_cells(form, rows) for rows in groups.values()], note)


def _cells(form: Form, rows: Sequence[Row]) -> list[str]:
    """Make a row of a table."""
    first = rows[0]
    ours, peer = (np.concatenate(parts) for parts in zip(*map(_samples, rows), strict=True))
    ratios = np.concatenate([_ratios(form, row) for row in rows])
    if form.cell is None:
        shown = [*first.samples][:2]
    else:
        shown = [form.cell(samples) if samples.size else "" for samples in (ours, peer)]
        shown[1] += " (quoted)" if first.quoted else ""
    judged = ratios if first.target is None or not first.target.unit else ours
    target = first.target.judge(float(np.median(judged))) if first.target else ("", "")
    ratio = "" if not ratios.size else _two_decimals(ratios) if form.least else median_and_range(ratios)
    return [first.what, *shown, ratio, "" if form.least else str(sum(map(_rounds, rows))), *target]


def _samples(row: Row) -> tuple[Samples, Samples]:
    """Take the samples of ours and of the peer; of one that can be set up in several ways the fastest of each round."""
    ours, *peers = (np.array(samples) for samples in row.samples.values())
    return ours, np.max(peers, axis=0) if peers else np.array([])


def _ratios(form: Form, row: Row) -> Samples:
    if row.ratios is not None:
        return np.array(row.ratios)
    ours, peer = _samples(row)
    if form.least and peer.size:
        ours, peer = ours.min(keepdims=True), peer.min(keepdims=True)
    return form.over(ours, peer) if peer.size else peer


def _rounds(row: Row) -> int:
    return row.rounds if row.rounds is not None else len(row.ratios or next(iter(row.samples.values())))


def _medians(form: Form, rows: Sequence[Row]) -> str:
    """Write `1.09 (7) and 1.00 (9)`: the median ratio in each file, and its rounds."""
    return " and ".join(f"{_two_decimals(_ratios(form, row))} ({_rounds(row)})" for row in rows)
