"""Scores along a sequence of tasks: their average, and each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.questions.sequence.runs import SequenceRun
from benchmarks.questions.sequence.scores import averages, by_strategy, scores
from benchmarks.questions.sequence.strategies import STRATEGIES
from benchmarks.report.wording import describe_context
from nb_evaluation.report.lines import Line, band, draw_line
from nb_evaluation.report.style import Picture, panels_figure, scale_scores, tidy
from nb_evaluation.report.verdict import listed
from nb_evaluation.stats.estimates import FloatArray

PANELS_PER_ROW = 3


def sequence_pictures(runs: Sequence[SequenceRun]) -> list[Picture]:
    """Both figures."""
    names = listed(list(by_strategy(runs)))
    axis = "0 is no torque, 1 the drive cancelled + PD; the axis is even near 1 and logarithmic away from it."
    return [
        Picture(
            "Average score over the tasks seen",
            f"Interquartile mean of the normalised score, averaged over the tasks seen so far, after each stage of the"
            f" sequence, a line for each of {names}, with a band for its interval. The tables hold the values.",
            f"After each stage, over the tasks seen up to it. Bands: pointwise 95 % intervals. {axis}",
            draw_averages(runs),
            "sequence",
        ),
        Picture(
            "Score in each task",
            f"A panel for each task: interquartile mean of its normalised score after each stage, a line for each of"
            f" {names}; the stages that train on the task are shaded.",
            "Shaded: the stages that train on the panel's task. Before its first the score is that of a policy that has"
            f" not seen it. Bands: pointwise 95 % intervals. {axis}",
            draw_tasks(runs),
            "sequence_tasks",
        ),
    ]


def draw_averages(runs: Sequence[SequenceRun]) -> Figure:
    """The average score over the tasks seen, stage by stage."""
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    axes = figure.subplots()
    _draw_lines(axes, {name: np.array(list(map(averages, group))) for name, group in by_strategy(runs).items()})
    _label_stages(axes, runs[0].spec.stages)
    axes.set_xlabel("task of the stage", fontsize=10)
    axes.set_ylabel("normalised score, mean over the tasks seen", fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.8)
    return figure


def draw_tasks(runs: Sequence[SequenceRun]) -> Figure:
    """The score in each task, stage by stage."""
    spec = runs[0].spec
    groups = {
        name: np.array([scores(run.spec, np.array(run.result.returns)) for run in group])
        for name, group in by_strategy(runs).items()
    }  # (num_runs, num_stages, num_tasks)
    figure, grid = panels_figure(len(spec.tasks), PANELS_PER_ROW, lambda _, j: (11.0, 0.9 + 2.6 * j))
    for task, axes in enumerate(grid):
        _draw_lines(axes, {name: each[..., task] for name, each in groups.items()})
        for stage in (i for i, each in enumerate(spec.stages) if each == task):
            axes.axvspan(stage - 0.5, stage + 0.5, color="0.92", linewidth=0, zorder=0)
        axes.set_title(f"task {task + 1}: {describe_context(spec.tasks[task])}", loc="left", fontsize=10)
    for axes in grid:
        _label_stages(axes, spec.stages)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(6, len(labels)),
        frameon=False,
        fontsize=9,
        handlelength=2.8,
    )
    figure.supxlabel("task of the stage", fontsize=10)
    figure.supylabel("normalised score", fontsize=10)
    return figure


def _draw_lines(axes: Axes, lines: Mapping[str, FloatArray]) -> None:
    """Lines by method, of scores `(num_runs, num_stages)`."""
    for name, each in lines.items():
        draw_line(axes, name, Line(np.arange(each.shape[1]), each), band(each), STRATEGIES[name].style)


def _label_stages(axes: Axes, stages: Sequence[int]) -> None:
    axes.set_xticks(range(len(stages)), [f"{task + 1}" for task in stages])
    axes.set_xlim(-0.5, len(stages) - 0.5)
    scale_scores(axes)
    tidy(axes)
