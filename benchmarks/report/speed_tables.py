"""Tables of speed, of one form: ours, the peer, the ratio with its range, the target and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.report.tables import Table
from benchmarks.report.wording import number

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


def _positive(samples: ArrayLike) -> NDArray[np.float64]:
    """Samples, shape `(rounds,)`.

    Raises:
        ValueError: there is none, or one is not a positive number.
    """
    values = np.asarray(samples, dtype=float)
    if values.ndim != 1 or not values.size or not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"not a list of positive numbers: {samples!r}")
    return values


class Spread(NamedTuple):
    """A figure over the rounds; as text "median [least, greatest]"."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, samples: ArrayLike) -> Spread:
        """The spread of samples, shape `(rounds,)`.

        Raises:
            ValueError: there is none, or one is not a positive number.
        """
        values = _positive(samples)
        return cls(float(np.median(values)), float(values.min()), float(values.max()))

    @classmethod
    def read(cls, data: Mapping[str, float]) -> Spread:
        """From a file that holds no samples.

        Raises:
            KeyError: one of the three is missing.
            ValueError: one is not a positive number, or they are out of order.
        """
        spread = cls(*(float(data[field]) for field in cls._fields))
        if cls.of([spread.min, spread.median, spread.max]) != spread:
            raise ValueError(f"not in the order of min, median and max: {spread}")
        return spread

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1
        median, low, high = (number(value, digits=digits) for value in self)
        return f"{median} [{low}, {high}]"


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> Spread:
    """The ratios within rounds, of samples of one shape `(rounds,)`.

    Raises:
        ValueError: they are not of one shape.
    """
    if above.shape != below.shape:
        raise ValueError(f"{above.size} and {below.size} rounds")
    return Spread.of(above / below)


class Target(NamedTuple):
    """What a figure has to reach, from `least` to `most`; None where that side is open."""

    least: float | None = None
    most: float | None = None
    unit: str = ""

    def judge(self, value: float) -> str:
        """`yes` or `no`."""
        high_enough = self.least is None or value >= self.least
        return "yes" if high_enough and (self.most is None or value <= self.most) else "no"

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}{self.unit}"
        return f"≤ {self.most:g}{self.unit}" if self.least is None else f"≥ {self.least:g}{self.unit}"


LEARN = Target(most=1.05)
PREDICT = Target(least=0.97, most=1.03)
APPLY = Target(most=50, unit=" µs")
PER_ROW = Target(most=1.25)
"""Set for gates and k-sets; the other files name their own."""


def _row(
    what: str, ours: object, peer: str, ratio: object, rounds: object, target: Target | None, judged: float
) -> list[str]:
    """A row of `COLUMNS`, the target `judged` by a figure of it."""
    ends = [str(target), target.judge(judged)] if target else ["", ""]
    return [what, str(ours), peer, str(ratio), str(rounds), *ends]


def _table(title: str, rows: list[list[str]], measured: Sequence[Measurement], note: str, **heads: str) -> Table:
    """A table of a part, with what the figures depend on in its note.

    Raises:
        ValueError: there is nothing to show.
    """
    if not rows:
        raise ValueError("no figures in it")
    data = measured[0].data
    machine = data.get("machine")
    where = (
        "a machine that the file does not name," if machine is None else f"{machine['cpu']}, {machine['cores']} cores,"
    )
    commands = " and ".join(f"`{each.command}`" for each in measured)
    made = f"Measured on {where} at {data['commit'] or 'no commit'} by {commands}."
    return Table(title, [heads.get(column.split()[0], column) for column in COLUMNS], rows, f"{note} {made}")


def environment_tables(measured: Sequence[Measurement]) -> list[Table]:
    """Steps per second, from `benchmarks.throughput`."""
    rows = []
    for each in measured[0].data["comparisons"]:
        ours, *peers = map(_positive, each["steps_per_second"].values())
        fastest = np.max(peers, axis=0)
        ratio = _ratio(ours, fastest)
        target = None if each["target"] is None else Target(least=float(each["target"]))
        shown = [number(float(f"{np.median(speeds):.3g}"), digits=0) for speeds in (ours, fastest)]
        rows.append(_row(each["name"], shown[0], shown[1], ratio, len(ours), target, ratio.median))
    note = (
        "More is better. Medians; where a peer can be set up in several ways, the fastest of each round stands for it."
        " Ours steps `NBPendulum-v0`."
    )
    heads = {"ours": "ours, steps/s", "peer": "peer, steps/s", "ratio": "speed over the peer's [min, max]"}
    return [_table("Environments: steps per second", rows, measured, note, **heads)]


def gate_tables(measured: Sequence[Measurement]) -> list[Table]:
    """Wall times over those of SB3's own policy, from `benchmarks.learning_speed`; pairs of all files together."""
    pairs: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for file in measured:
        for each in file.data["comparisons"]:
            key = (each["algorithm"], each["call"], each["policy"])
            pairs.setdefault(key, {})[file.name] = list(each["ratios"])
    rows, apart = [], []
    for (algorithm, call, policy), by_file in pairs.items():
        ratio = Spread.of([value for ratios in by_file.values() for value in ratios])
        control = policy.startswith("MlpPolicy")
        target = None if control else LEARN if call == "learn" else PREDICT
        ours = f"control: `MlpPolicy`{policy.removeprefix('MlpPolicy')}" if control else policy
        count = sum(map(len, by_file.values()))
        what = f"{algorithm}, `{call}`"
        rows.append(_row(what, ours, "`MlpPolicy`", ratio, count, target, ratio.median))
        if len(by_file) > 1 and target:
            medians = " and ".join(
                f"{number(Spread.of(ratios).median, digits=2)} ({len(ratios)})" for ratios in by_file.values()
            )
            apart.append(f"{what}, {policy}: {medians}")
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
    """What k-sets cost, from `benchmarks.battery_speed`."""
    data = measured[0].data
    batch, rounds, rows = data["batch"], data["rounds"], []
    for each in data["policies"]:
        times = {name: Spread.read(spread) for name, spread in each["microseconds"].items()}
        ratio = Spread.read(each["ratio"])
        for name, what, target in (
            ("apply", "swap, all may train", APPLY),
            ("apply_frozen", "swap, weights frozen", APPLY),
            ("enter", f"open `per_row` for {batch} rows", None),
        ):
            rows.append(_row(f"{each['policy']}: {what}", times[name], "", "", rounds, target, times[name].median))
        what = f"{each['policy']}: forward of {batch}, a k-set per row"
        rows.append(_row(what, times["rows"], str(times["shared"]), ratio, rounds, PER_ROW, ratio.median))
    note = (
        "Less is better. A swap has no peer; for a k-set per row it is the same policy with one k-set for all rows."
        " `per_row` is opened once for as many passes as wanted, and that time is not part of the ratio."
    )
    heads = {"ours": "ours, µs [min, max]", "peer": "peer, µs [min, max]", "ratio": "time over the peer's [min, max]"}
    return [_table("k-sets: swapping one, and one per row", rows, measured, note, **heads)]


def maml_tables(measured: Sequence[Measurement]) -> list[Table]:
    """Processor seconds of a meta-iteration, from `benchmarks.maml_speed`."""
    data = measured[0].data
    rows = []
    for each in data["comparisons"]:
        peer = _positive(each["seconds"]["peer"])
        target = None if each["target"] is None else Target(least=float(each["target"]))
        for name, which in (("ours", ""), ("ours, all samples", ", all samples")):
            ours = _positive(each["seconds"][name])
            ratio = _ratio(peer, ours)
            what = f"{each['peer']}, 2 × {each['hidden']} {each['activation']}{which}"
            shown = [number(float(np.median(seconds)), digits=2) for seconds in (ours, peer)]
            quoted = "" if each["interleaved"] else " (quoted)"
            rows.append(_row(what, shown[0], shown[1] + quoted, ratio, len(ours), target, ratio.median))
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
    for (fewer, more), (before, after) in zip(pairwise(tasks), pairwise(seconds), strict=True):
        ours, peer, ratio = (number(value, digits=2) for value in (after, before, after / before))
        rows.append(
            _row(f"{more} tasks over {fewer}", ours, peer, ratio, "", Target(most=more / fewer), after / before)
        )
    note = "Less is better. Least of the rounds; the target is linear growth."
    heads = {"ours": "ours, s", "peer": "ours with fewer tasks, s", "ratio": "ratio"}
    return _table("MAML: time by the number of tasks", rows, measured, note, **heads)
