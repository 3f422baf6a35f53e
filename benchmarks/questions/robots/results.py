"""What a run gives: returns of its policies, and of an adaptation how it went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """What a policy reaches; deterministic, means over the same starts for everyone.

    Attributes:
        returns: Returns by the names of the contexts; "source" is the default robot.
        numbers: Numbers of the actor that are kept for each task; 0 where none are, as with k's that are inferred.
        steps: Decisions of all trainings before the target, labels included.
        steps_there: Decisions in the target before the measured episode.
    """

    returns: dict[str, float]
    numbers: int
    steps: int
    steps_there: int = 0


@dataclass
class Adaptation:
    """How a training in a target went.

    Attributes:
        steps: Decisions in the target at each measurement, from 0.
        returns: Returns in the target there, `(measurements,)`.
        early: Returns of the training's own first episode in each environment, exploration included.
        source_before: Return of the source policy on the default robot; None without one.
        source_swapped: The same with the source's k's put back; None where other numbers have changed.
    """

    steps: list[int]
    returns: list[float]
    early: list[float]
    source_before: float | None
    source_swapped: float | None


@dataclass
class RobotsResult:
    """Rows by name, the adaptation where there was one, and what `exporting.exported` has found where it was asked."""

    rows: dict[str, Row]
    adaptation: Adaptation | None = None
    checks: dict[str, float] = field(default_factory=dict)
