"""Which reference controller holds which pendulum: the smallest question there can be."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from nb_evaluation.arguments import add_methods, add_seeds, reporting_seeds
from nb_evaluation.method import Described, Style
from nb_evaluation.question import Question
from nb_evaluation.report.style import Picture
from nb_evaluation.report.tables import Table
from nb_evaluation.report.wording import interval, number
from nb_evaluation.runs import groups
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.stats.estimates import iqm

CONTROLLERS = {
    "pd": Described(summary="PD(100, 20)", row=1, style=Style("#0072B2", "-", "o"), panel=""),
    "none": Described(summary="no torque", row=2, style=Style("#D55E00", "--", "s"), panel=""),
}


@dataclass(frozen=True, kw_only=True)
class HoldSpec(Specification):
    """A controller, a seed of the starts, and the amplitude of the drive."""

    A: float = 1.8
    __hash__ = Specification.__hash__


@dataclass
class HoldResult:
    """The mean return over sixteen starts."""

    mean_return: float


class HoldRun(FinishedRun[HoldSpec, HoldResult]):
    """A finished run."""

    spec_type, result_type = HoldSpec, HoldResult


class Hold(Question[HoldSpec, HoldRun]):
    """Which reference controller holds which pendulum."""

    name = "hold"
    title = "Hold: reference controllers on one pendulum"
    description = __doc__
    run = HoldRun
    methods = CONTROLLERS

    def add_options(self, parser):
        add_methods(parser, CONTROLLERS, tuple(CONTROLLERS))
        add_seeds(parser, default=5)

    def specifications(self, options):
        seeds = reporting_seeds(options.seeds)
        return [HoldSpec(method=method, seed=seed) for seed in seeds for method in options.methods]

    def execute(self, spec):
        from nb_gym import controllers  # what only a run needs is imported here

        controller = controllers.pd(100.0, 20.0) if spec.method == "pd" else controllers.zero
        return HoldResult(controllers.reference_return(controller, 16, spec.seed, episode_steps=1000, A=spec.A))

    def line(self, run):
        return number(run.result.mean_return)

    def tables(self, runs):
        rows = []
        for name, group in groups.by_method(runs, CONTROLLERS).items():
            returns = [run.result.mean_return for run in group]
            rows.append(
                [f"`{name}`", interval(iqm(returns, np.random.default_rng(0)), len(returns)), str(len(returns))]
            )
        return [Table("Return at A = 1.8", ["method", "return [95 % CI]", "seeds"], rows)]

    def figures(self, runs):
        figure = Figure(figsize=(6.0, 3.0), layout="constrained")
        axes = figure.subplots()
        for name, group in groups.by_method(runs, CONTROLLERS).items():
            axes.plot([run.result.mean_return for run in group], label=name, color=CONTROLLERS[name].style.colour)
        axes.legend()
        return [Picture("Every seed", "Returns of both controllers, seed by seed.", "", figure, "hold")]


QUESTION = Hold()
