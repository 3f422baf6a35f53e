"""A finished run of one transfer."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any

from benchmarks.protocol.results import DRIVES, GRID_DRIVES, GRID_GAINS, Curve, Landscape, RunResult
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from benchmarks.protocol.summary import Summary, summarise
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.seal import check_lengths


class Run(FinishedRun[RunSpec, RunResult]):
    """A finished run of one transfer."""

    spec_type, result_type = RunSpec, RunResult

    @cached_property
    def summary(self) -> Summary:
        """The figures of the tables."""
        return summarise(self.spec, self.result)

    @classmethod
    def parse(cls, result: dict[str, Any]) -> RunResult:
        """See `FinishedRun.parse`."""
        parts: dict[str, Any] = {"curve": Curve(**result["curve"])}
        for name in ("landscape_before", "landscape_after"):
            parts[name] = None if result[name] is None else Landscape(**result[name])
        return RunResult(**result | parts)

    def check(self) -> None:
        """See `FinishedRun.check`."""
        curve, result = self.result.curve, self.result
        for name in ("source", "target"):
            check_lengths(f"curve.{name}", getattr(curve, name), len(curve.steps))
        if sorted(set(curve.steps)) != list(curve.steps):
            raise ValueError(f"curve.steps must rise, got {curve.steps!r:.60}")
        for name in ("torques_before", "torques_after"):
            check_lengths(name, getattr(result, name), EPISODE_STEPS // self.spec.settings.frame_skip)
        for each in filter(None, (result.landscape_before, result.landscape_after)):
            check_lengths("over_drive", each.over_drive, len(DRIVES))
            check_lengths("over_drive_and_gain", each.over_drive_and_gain, len(GRID_DRIVES), len(GRID_GAINS))
        if result.k_sets is not None:
            check_lengths("k_sets", result.k_sets, 2, len(result.k_sets[0]))

    def figures(self) -> dict[str, Any]:
        """The summary."""
        return {"summary": asdict(self.summary)}
