"""Choose settings by random search, on seeds that no report uses.

An algorithm's settings are shared by all methods, so a trial is scored by a gated and a plain method together; those
of a meta-learner are its own. A trial is a pure function of its number: the search can be stopped, continued and
repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from benchmarks.protocol.environments import NUM_STARTS
from benchmarks.protocol.spec import PROTOCOL
from benchmarks.protocol.summary import summarise
from benchmarks.questions.tune.searches import SEARCHES
from nb_evaluation.arguments import add_methods, add_seeds, count, refuse
from nb_evaluation.question import Question
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import number
from nb_evaluation.runs import groups
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import FIRST_REPORTING_SEED, Specification
from nb_evaluation.stats.estimates import interquartile_mean


@dataclass(frozen=True, kw_only=True)
class TrialSpec(Specification):
    """A trial: `method` is a key of `SEARCHES`, `seed` the trial's number.

    Attributes:
        num_seeds: Number of tuning seeds, from 0 up.
        num_starts: Number of fixed starts that a policy is measured from.
        protocol: See `benchmarks.protocol.spec.PROTOCOL`.

    Raises:
        ValueError: The seeds would reach into those for reporting.
    """

    num_seeds: int
    num_starts: int = NUM_STARTS
    protocol: int = PROTOCOL
    __hash__ = Specification.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.num_seeds <= FIRST_REPORTING_SEED:
            raise ValueError(f"seeds must be 1 to {FIRST_REPORTING_SEED}: those from there on are for reporting")


@dataclass
class TrialResult:
    """A trial's settings and scores.

    Attributes:
        objective: Mean over the methods of the interquartile mean of `final`; higher is better.
        final: Final returns by method, one for each seed.
        settings: What was drawn.
    """

    objective: float
    final: dict[str, list[float]]
    settings: dict[str, Any]


class TrialRun(FinishedRun[TrialSpec, TrialResult]):
    """A finished trial."""

    spec_type, result_type = TrialSpec, TrialResult

    def check(self) -> None:
        """See `FinishedRun.check`; a trial of other settings than its number gives is of another search."""
        search = SEARCHES[self.spec.method]
        wanted = search.sample(self.spec.seed)
        lengths = {len(self.result.final[method]) for method in search.methods}
        if type(wanted)(**self.result.settings) != wanted or lengths != {self.spec.num_seeds}:
            raise ValueError("it is a trial of another search")


class Tune(Question[TrialSpec, TrialRun]):
    """Which settings are best, for each algorithm and meta-learner."""

    name = "tune"
    title = "Tuning: settings chosen on seeds that no report uses"
    run: ClassVar[type[TrialRun]] = TrialRun
    methods = SEARCHES
    varies = ("num_seeds", "num_starts", "protocol")
    intervals = ""
    first_seed = 0

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_methods(parser, SEARCHES, ["ppo"], f"what to choose settings for, of {', '.join(SEARCHES)}")
        parser.add_argument("--trials", type=count, default=24, metavar="N", help="settings to try (default: 24)")
        add_seeds(parser, 4, "number of tuning seeds, from 0 up")
        refuse(parser, {"--search": "--methods METHOD"})

    def specifications(self, options: argparse.Namespace) -> list[TrialSpec]:
        """See `Question.specifications`."""
        return [
            TrialSpec(method=search, seed=trial, num_seeds=options.seeds)
            for search in options.methods
            for trial in range(options.trials)
        ]

    def execute(self, spec: TrialSpec) -> TrialResult:
        """See `Question.execute`."""
        from benchmarks.runs.experiment import execute

        search = SEARCHES[spec.method]
        settings, final = search.sample(spec.seed), {}
        for method in search.methods:
            specs = [search.specification(method, seed, settings) for seed in range(spec.num_seeds)]
            final[method] = [summarise(each, execute(each)).final for each in specs]
        objective = float(interquartile_mean(np.array(list(final.values())), axis=1).mean())
        return TrialResult(objective, final, asdict(settings))

    def line(self, run: TrialRun) -> str:
        """See `Question.line`."""
        return f"objective {number(run.result.objective):>8}"

    def tables(self, runs: Sequence[TrialRun]) -> list[Table]:
        """See `Question.tables`; the settings of the best trials, and the objectives of all."""
        found = groups.by_method(runs, SEARCHES)
        best = {name: max(group, key=lambda run: run.result.objective) for name, group in found.items()}
        chosen = [
            [f"`{name}`", str(run.spec.seed), number(run.result.objective), _written(run.result.settings)]
            for name, run in best.items()
        ]
        trials = sorted({run.spec.seed for run in runs})
        rows = []
        for name, group in found.items():
            objectives = {run.spec.seed: number(run.result.objective) for run in group}
            rows.append([f"`{name}`", *(objectives.get(trial, "") for trial in trials)])
        return [
            Table("The best trial of each search", ["search", "trial", "objective", "settings"], chosen),
            Table("Objective of every trial", ["search", *map(str, trials)], rows),
        ]

    def caption(self, runs: Sequence[TrialRun], command: str) -> str:
        """See `Question.caption`."""
        return (
            "Objective: interquartile mean of the final return over the tuning seeds, mean over the methods that share"
            f" the settings. Made by `{command}`."
        )


def _written(settings: Mapping[str, Any]) -> str:
    """Settings in one line; those of the observation by their channels."""
    flat = dict[str, Any]()
    for name, value in settings.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return ", ".join(f"{name} {value}" for name, value in flat.items())


QUESTION = Tune()
