"""Tables of speed, of one form: ours, the peer, the ratio with its range, the target and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import number

COLUMNS = ("what", "ours", "peer", "ratio [min, max]", "rounds", "target", "reached")
"""Of every table; the heads of the ratio, and of ours and the peer where they have a unit, say more."""


class Measurement(NamedTuple):
    """A file of measured speeds.

    Attributes:
        name: of the file.
        command: that wrote it.
        data: its contents, see `records.write_measurement`.
    """

    name: str
    command: str
    data: Mapping[str, Any]


def _positive(samples: ArrayLike, ndim: int = 1) -> NDArray[np.float64]:
    """Samples, shape `(rounds,)`, or `(series, rounds)` with `ndim=2`.

    Raises:
        ValueError: there is none, one is not a positive number, or the series differ in length.
    """
    values = np.asarray(samples, dtype=float)
    if values.ndim != ndim or not values.size or not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"not positive numbers, {ndim}-dimensional: {samples!r}")
    return values


def _summary(data: Mapping[str, float]) -> NDArray[np.float64]:
    """Least, median and greatest, which have the same three as the samples that a file does not hold.

    Raises:
        KeyError: one of the three is missing.
        ValueError: one is not a positive number, or they are out of order.
    """
    values = _positive([data["min"], data["median"], data["max"]])
    if np.any(np.diff(values) < 0):
        raise ValueError(f"not in the order of min, median and max: {dict(data)}")
    return values


def spread(samples: NDArray[np.float64]) -> str:
    """`median [least, greatest]` of samples, shape `(rounds,)`."""
    median, low, high = np.median(samples), samples.min(), samples.max()
    digits = 2 if median < 10 else 1
    return "{} [{}, {}]".format(*(number(float(value), digits=digits) for value in (median, low, high)))


class Target(NamedTuple):
    """What a median has to reach, from `least` to `most`; infinite where that side is open."""

    least: float = -np.inf
    most: float = np.inf
    unit: str = ""

    def judge(self, value: float) -> tuple[str, str]:
        """The target as text, and `yes` or `no`; nothing where both sides are open."""
        low, high = f"{self.least:g}", f"{self.most:g}"
        text = f"≤ {high}" if low == "-inf" else f"≥ {low}" if high == "inf" else f"{low} to {high}"
        reached = "yes" if self.least <= value <= self.most else "no"
        return ("", "") if self == NONE else (text + self.unit, reached)


NONE = Target()
LEARN = Target(most=1.05)
PREDICT = Target(least=0.97, most=1.03)
APPLY = Target(most=50, unit=" µs")
PER_ROW = Target(most=1.25)
"""Set for gates and k-sets; the other files name their own."""


def _named(target: float | None) -> Target:
    """A file's own target, which the ratio must reach at least."""
    return NONE if target is None else Target(least=float(target))


def _table(title: str, rows: list[list[str]], measured: Sequence[Measurement], note: str, **heads: str) -> Table:
    """A table of a part, with what the figures depend on in its note.

    Raises:
        ValueError: there is nothing to show.
    """
    if not rows:
        raise ValueError("no figures in it")
    data = measured[0].data
    where = "a machine that the file does not name"
    if data.get("machine") is not None:
        where = "{cpu}, {cores} cores".format(**data["machine"])
    commands = " and ".join(f"`{each.command}`" for each in measured)
    made = f"Measured on {where}, at {data['commit'] or 'no commit'} by {commands}."
    return Table(title, [heads.get(column.split()[0], column) for column in COLUMNS], rows, f"{note} {made}")


def environment_tables(measured: Sequence[Measurement]) -> list[Table]:
    """Steps per second, from `benchmarks.speed.environments`."""
    rows = []
    for each in measured[0].data["comparisons"]:
        ours, *peers = _positive(list(each["steps_per_second"].values()), ndim=2)
        fastest = np.max(peers, axis=0)
        ratio = ours / fastest
        shown = [number(float(f"{np.median(speeds):.3g}"), digits=0) for speeds in (ours, fastest)]
        judged = _named(each["target"]).judge(np.median(ratio))
        rows.append([each["name"], *shown, spread(ratio), str(len(ours)), *judged])
    note = (
        "More is better. Medians; where a peer can be set up in several ways, the fastest of each round stands for it."
        " Ours steps `NBPendulum-v0`."
    )
    heads = {"ours": "ours, steps/s", "peer": "peer, steps/s", "ratio": "speed over the peer's [min, max]"}
    return [_table("Environments: steps per second", rows, measured, note, **heads)]


def gate_tables(measured: Sequence[Measurement]) -> list[Table]:
    """Wall times over those of SB3's own policy, from `benchmarks.speed.learning`; pairs of all files together."""
    pairs: dict[tuple[str, str, str], list[NDArray[np.float64]]] = {}
    for file in measured:
        for each in file.data["comparisons"]:
            key = (f"{each['algorithm']}, `{each['call']}`", each["call"], each["policy"])
            pairs.setdefault(key, []).append(_positive(each["ratios"]))
    rows, apart = [], []
    for (what, call, policy), by_file in pairs.items():
        ratio = np.concatenate(by_file)
        control = policy.startswith("MlpPolicy")
        target = NONE if control else LEARN if call == "learn" else PREDICT
        ours = f"control: {policy.replace('MlpPolicy', '`MlpPolicy`', 1)}" if control else policy
        judged = target.judge(np.median(ratio))
        rows.append([what, ours, "`MlpPolicy`", spread(ratio), str(len(ratio)), *judged])
        if len(by_file) > 1 and not control:
            medians = (f"{number(float(np.median(each)), digits=2)} ({len(each)})" for each in by_file)
            apart.append(f"{what}, {policy}: {' and '.join(medians)}")
    note = (
        "Less is better. `learn` is timed in pairs of runs, `predict` in pairs of 500 calls with one observation. Gated"
        " policies step with PyTorch's fused Adam, SB3's do not; the control tells what the optimizer alone saves."
    )
    if apart:
        names = " and ".join(f"`{each.name}`" for each in measured)
        note += f" Pairs from {names} are taken together; the medians apart, with their pairs: {'; '.join(apart)}."
    heads = {"ratio": "time over the peer's [min, max]", "rounds": "pairs"}
    return [_table("Gates: `learn` and `predict` beside SB3's policy", rows, measured, note, **heads)]


def battery_tables(measured: Sequence[Measurement]) -> list[Table]:
    """What k-sets cost, from `benchmarks.speed.battery`."""
    data = measured[0].data
    batch, rounds, rows = data["batch"], str(data["rounds"]), []
    alone = {
        "apply": ("swap, all may train", APPLY),
        "apply_frozen": ("swap, weights frozen", APPLY),
        "enter": (f"open `per_row` for {batch} rows", NONE),
    }
    for each in data["policies"]:
        policy, ratio = each["policy"], _summary(each["ratio"])
        times = {name: _summary(summary) for name, summary in each["microseconds"].items()}
        for name, (what, target) in alone.items():
            judged = target.judge(np.median(times[name]))
            rows.append([f"{policy}: {what}", spread(times[name]), "", "", rounds, *judged])
        shown = [spread(samples) for samples in (times["rows"], times["shared"], ratio)]
        judged = PER_ROW.judge(np.median(ratio))
        rows.append([f"{policy}: forward of {batch}, a k-set per row", *shown, rounds, *judged])
    note = (
        "Less is better. A swap has no peer; for a k-set per row it is the same policy with one k-set for all rows."
        " `per_row` is opened once for as many passes as wanted, and that time is not part of the ratio."
    )
    heads = {"ours": "ours, µs [min, max]", "peer": "peer, µs [min, max]", "ratio": "time over the peer's [min, max]"}
    return [_table("k-sets: swapping one, and one per row", rows, measured, note, **heads)]


def maml_tables(measured: Sequence[Measurement]) -> list[Table]:
    """Processor seconds of a meta-iteration, from `benchmarks.speed.maml`."""
    rows = []
    for each in measured[0].data["comparisons"]:
        for name, which in (("ours", ""), ("ours, all samples", ", all samples")):
            ours, peer = _positive([each["seconds"][name], each["seconds"]["peer"]], ndim=2)
            what = f"{each['peer']}, 2 × {each['hidden']} {each['activation']}{which}"
            shown = [number(float(np.median(seconds)), digits=2) for seconds in (ours, peer)]
            shown[1] += "" if each["interleaved"] else " (quoted)"
            judged = _named(each["target"]).judge(np.median(peer / ours))
            rows.append([what, *shown, spread(peer / ours), str(len(ours)), *judged])
    note = (
        "More is better. Navigation2D, 80,000 environment steps, medians. Ours estimates the Fisher matrix on a part of"
        " the samples; the rows of all samples compute it as the peers do."
    )
    heads = {"ours": "ours, s", "peer": "peer, s", "ratio": "peer's time over ours [min, max]"}
    beside = _table("MAML: processor seconds of a meta-iteration", rows, measured, note, **heads)
    return [beside, _scaling_table(measured)]


def _scaling_table(measured: Sequence[Measurement]) -> Table:
    """How the time grows with the number of tasks: at most linearly, or so it should."""
    scaling = measured[0].data["scaling"]
    tasks = sorted(map(int, scaling))
    seconds = _positive([scaling[str(n)] for n in tasks])
    rows = []
    for n, time in zip(tasks[1:], seconds[1:], strict=True):
        shown = [number(float(value), digits=2) for value in (time, seconds[0], time / seconds[0])]
        rows.append([f"{n} tasks over {tasks[0]}", *shown, "", *Target(most=n / tasks[0]).judge(time / seconds[0])])
    note = "Less is better. Least of the rounds; the target is linear growth."
    heads = {"ours": "ours, s", "peer": "ours with the fewest tasks, s", "ratio": "ratio"}
    return _table("MAML: time by the number of tasks", rows, measured, note, **heads)
