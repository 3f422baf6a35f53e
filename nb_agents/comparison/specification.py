"""A run of a comparison: what decides it, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nb_agents.comparison.methods import METHODS
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths

KEYWORDS = ("source", "target", "common", "set")
"""Options that are names and values."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSpec(Specification):
    """A policy that is moved from a source to a target.

    Attributes:
        env: Id of an environment of Gymnasium's, or "module:factory".
        wrapper: "module:function" that is given the environment and the keywords of source or target; "" where the
            environment takes these itself.
        common: Keywords of the environment in source and target alike.
        source: Keywords of the source.
        target: Keywords of the target.
        contexts: Ranges that the student's contexts are drawn from, by keyword; empty without a student.
        algo: Name of the algorithm's class in SB3 or sb3-contrib.
        settings: Hyperparameters as the RL zoo writes them.
        source_steps: Steps of the training on the source.
        steps: Steps of the training in the target.
        evaluations: Evaluations of a training in the target, evenly spread, beside the one before.
        episodes: Episodes of an evaluation.
        code: Digests of the user's source files, and versions of further packages, see `code_of`.

    Raises:
        ValueError: A number is below 1, or there is no such method.
    """

    env: str
    wrapper: str = ""
    common: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    contexts: dict[str, list[float]] = field(default_factory=dict)
    algo: str = "PPO"
    settings: dict[str, Any] = field(default_factory=dict)
    source_steps: int
    steps: int
    evaluations: int = 10
    episodes: int = 10
    code: dict[str, str] = field(default_factory=dict)
    __hash__ = Specification.__hash__

    def __post_init__(self) -> None:
        """Check."""
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        for name in ("source_steps", "steps", "evaluations", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass
class Row:
    """What a policy reaches; deterministic, over the same starts for all.

    Attributes:
        steps: Steps in the target at which it was measured; [0] where it takes none.
        returns: Mean returns in the target at these steps.
        source_before: Mean return on the source before; None where it begins anew.
        source_after: Mean return on the source afterwards.
        source_back: The same with the source's k's put back; None where weights have changed.
        numbers: Numbers of the actor that have trained in the target.
    """

    steps: list[int]
    returns: list[float]
    source_before: float | None
    source_after: float
    source_back: float | None
    numbers: int


@dataclass
class ComparisonResult:
    """What a run gives: a row, or those of a teacher and its student."""

    rows: dict[str, Row]


class ComparisonRun(FinishedRun[ComparisonSpec, ComparisonResult]):
    """A finished run."""

    spec_type, result_type = ComparisonSpec, ComparisonResult

    @classmethod
    def parse(cls, result: dict[str, Any]) -> ComparisonResult:
        """See `FinishedRun.parse`."""
        return ComparisonResult({name: Row(**row) for name, row in result["rows"].items()})

    def check(self) -> None:
        """See `FinishedRun.check`."""
        for name, row in self.result.rows.items():
            check_lengths(f"rows.{name}.returns", row.returns, len(row.steps))
