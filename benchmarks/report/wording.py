"""Contexts, budgets and conditions of the pendulum protocol as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.methods import METHODS
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import RunSpec, Source
from nb_evaluation.report import wording
from nb_evaluation.runs.records import FinishedRun


def describe_context(context: Source) -> str:
    """`A = 1.8, torque_gain = −1`, or `A ~ U[1, 1.5]`."""
    parts = [
        f"{name} ~ U[{value[0]:g}, {value[1]:g}]" if isinstance(value, tuple) else f"{name} = {value:g}"
        for name, value in context.items()
    ]
    return ", ".join(parts).replace("-", "−") or "the defaults"


def describe_budget(spec: RunSpec) -> str:
    """`50 + 100 episodes of 1,000 physics steps`."""
    return f"{spec.pretrain_episodes} + {spec.transfer_episodes} episodes of 1,000 physics steps"


def caption(runs: Sequence[FinishedRun[Any, Any]], command: str, *, budget: str = "", route: str = "") -> str:
    """What a reader has to know to make the tables and figures again: seeds, budget, command, code.

    Args:
        runs: Runs, at least one.
        command: Command that made them.
        budget: Budget in words, where `describe_budget` does not say all of it.
        route: Source and targets in words, where the runs have more than one target.
    """
    spec = runs[0].spec
    route = route or f"{describe_context(spec.source)} → {describe_context(spec.target)}"
    return wording.caption(runs, command, f"{spec.algo.upper()}; {budget or describe_budget(spec)}; {route}")


def conditions(runs: Sequence[Run]) -> str:
    """Who sees and trains what: the methods share a task that the reference controllers do not have."""
    settings = runs[0].spec.settings
    sentences = [
        f"Policies observe {', '.join(settings.observe)} and decide once per {settings.frame_skip} physics steps;"
        " reference controllers decide at every step, and PD and bang-bang see only θ and θ̇."
    ]
    if any(METHODS[run.spec.method].adapts == "gates" for run in runs):
        sentences.append(
            "With `-k` the critic and the spread of the exploration train as well; no deployed policy contains them."
        )
    return " ".join(sentences)


def meta_tasks(runs: Sequence[FinishedRun[Any, Any]]) -> str:
    """What the meta-learners were given to learn from, which decides what can be expected of them; empty without any.

    A single task leaves a meta-learner nothing to learn about how tasks differ.
    """
    if all(run.spec.meta is None for run in runs):
        return ""
    source = runs[0].spec.source
    where = describe_context(source)
    if any(isinstance(value, tuple) for value in source.values()):
        return f"Meta-learners draw their tasks from the source, {where}."
    return f"Meta-learners have one task to learn from, the source that all methods train on, {where}."
