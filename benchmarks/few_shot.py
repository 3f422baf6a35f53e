"""What a few episodes of adaptation are worth: the return after each of them, in ten other pendulums."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.anchors import normalise, reference_returns
from benchmarks.arguments import add_seeds, count
from benchmarks.figures import STYLES
from benchmarks.job import Question, add_job_options, publish, run_job
from benchmarks.meta import MetaMethod
from benchmarks.methods import ABLATIONS, METHODS, specify
from benchmarks.records import Run
from benchmarks.report import Table, by_method, describe_context, describe_seeds, interval, number
from benchmarks.settings import meta_settings
from benchmarks.spec import EPISODE_STEPS, FIRST_REPORTING_SEED, Context, RunSpec, parse_assignments
from benchmarks.statistics import interquartile_mean, iqm, paired_difference

SHOTS = (0, 1, 2, 5, 10, 25)
"""Episodes of adaptation after which the tables tell the return."""

TARGETS: tuple[Context, ...] = (
    {"A": 1.8}, {"A": 2.5}, {"b": 0.0}, {"b": 1.0}, {"omega": 1.5},
    {"torque_gain": 0.3}, {"torque_gain": 0.6}, {"torque_gain": 1.5}, {"torque_gain": -1.0}, {"max_torque": 1.2},
)  # fmt: skip
"""What changes from the source: stronger drives (2.5 is more than the torque can cancel), damping, the drive's
frequency, weaker (0.3 is too weak to cancel the drive), stronger and reversed actuators, and less torque."""

CHOICES = tuple(name for name, method in METHODS.items() if method.adapts and name not in ABLATIONS)
"""The methods that adapt; `scratch` is the control that has learned nothing before."""

BASELINE = "fine-tune"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_shot", description=__doc__)
    add = parser.add_argument
    add("--methods", nargs="+", choices=CHOICES, default=CHOICES, metavar="METHOD",
        help=f"what to compare (default: {' '.join(CHOICES)})")  # fmt: skip
    add("--targets", nargs="+", metavar="NAME=VALUE",
        default=[f"{name}={value}" for target in TARGETS for name, value in target.items()],
        help="what changes from the source, one thing at a time (default: %(default)s)")  # fmt: skip
    add("--source", nargs="+", default=["A=1.0"], metavar="NAME=VALUE",
        help="parameters of the source pendulum, numbers or ranges (default: A=1.0)")  # fmt: skip
    add_seeds(parser, default=10)
    add("--pretrain-episodes", type=count, default=50, metavar="N",
        help="budget on the source (default: 50, the published one)")  # fmt: skip
    add("--shots", type=count, default=SHOTS[-1], metavar="N", help=f"budget on each target (default: {SHOTS[-1]})")
    add_job_options(parser, "few_shot")
    return parser


def _specifications(options: argparse.Namespace) -> list[RunSpec]:
    """One for each seed, method and target; those that share a pretraining follow each other.

    Raises:
        ModuleNotFoundError: a package that a method needs is not installed.
        TypeError: a context names something that the pendulum does not have.
        ValueError: a context or a budget is not accepted.
    """
    source = parse_assignments(options.source)
    middle = {name: float(np.mean(value)) for name, value in source.items()}
    targets = [parse_assignments([each]) for each in dict.fromkeys(options.targets)]
    methods = sorted(
        dict.fromkeys(options.methods), key=lambda name: list(METHODS).index(METHODS[name].pretrains_as or name)
    )
    specs = [
        _specification(
            method,
            seed=seed,
            source=source,
            target={**middle, **target},
            pretrain_episodes=options.pretrain_episodes,
            transfer_episodes=options.shots,
        )
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds)
        for method in methods
        for target in targets
    ]
    for spec in specs[: len(targets)]:
        reference_returns(spec.target)
    return specs


def _specification(method: str, **options: Any) -> RunSpec:
    """One environment, so an update after each episode; a meta-learner takes an inner step after each, too."""
    if isinstance(METHODS[method], MetaMethod):
        options["meta"] = replace(meta_settings(method, options["pretrain_episodes"]), adapt_episodes=1)
    return specify(method, transfer_envs=1, eval_every=1, detail=False, **options)


def k_shot(run: Run) -> NDArray[np.float64]:
    """Deterministic return in the target context after 0, 1, 2, ... episodes; shape `(transfer_episodes + 1,)`."""
    steps = np.array(run.result.curve.steps)
    start = steps[-1] - run.spec.transfer_episodes * EPISODE_STEPS
    wanted = start + EPISODE_STEPS * np.arange(run.spec.transfer_episodes + 1)
    # The policy stays what it was until the next evaluation, which comes with every update.
    returns: NDArray[np.float64] = np.array(run.result.curve.target)
    return np.asarray(returns[np.searchsorted(steps, wanted, side="right") - 1])


def _line(run: Run) -> str:
    returns = k_shot(run)
    return f"{describe_context(_change(run.spec)):<18} {number(returns[0]):>8} → {number(returns[-1]):>8}"


def _report(runs: Sequence[Run], folder: Path, command: str, console: Console) -> None:
    publish(tables(runs), figures(runs), caption(runs, command), folder, console)


def caption(runs: Sequence[Run], command: str) -> str:
    """What the figures are, and what a reader has to know to make them again."""
    spec = runs[0].spec
    commits = sorted({run.commit or "no commit" for run in runs})
    return (
        "Return of the deterministic policy over fixed starts after so many episodes of adaptation, one update after"
        f" each; normalised per target: 0 is no torque, 1 the drive cancelled + PD. Interquartile means over"
        f" {describe_seeds(sorted({run.spec.seed for run in runs}))} (and the targets, where they are taken together),"
        f" 95 % bootstrap intervals. {spec.pretrain_episodes} episodes at {describe_context(spec.source)} before."
        f" Made by `{command}` at {', '.join(commits)}."
    )


def tables(runs: Sequence[Run]) -> list[Table]:
    """All targets taken together, the difference to fine-tuning, and one table for each target."""
    shots = [shot for shot in SHOTS if shot <= runs[0].spec.transfer_episodes]
    columns = ["method", *(f"{shot}" for shot in shots), "seeds"]
    parts = [Table("Normalised score after so many episodes, all targets", columns, _overall(runs, shots))]
    if differences := _differences(runs, shots):
        title = f"Difference of the normalised score to `{BASELINE}`, seed by seed and target by target"
        parts.append(Table(title, columns, differences))
    for target, group in by_target(runs).items():
        rows = [
            [f"`{name}`", *_cells(np.array([k_shot(run) for run in each]), shots), str(len(each))]
            for name, each in by_method(group).items()
        ]
        rows += [[f"*{name}*", number(score)] + [""] * len(shots) for name, score in _references(group[0]).items()]
        parts.append(Table(f"Return after so many episodes, {target}", columns, rows))
    return parts


def _overall(runs: Sequence[Run], shots: Sequence[int]) -> list[list[str]]:
    rows = []
    for name, scores in _scores(runs).items():
        if scores is not None:
            cells = [
                interval(iqm(scores[..., shot], np.random.default_rng(0)), len(scores), digits=3) for shot in shots
            ]
            rows.append([f"`{name}`", *cells, str(len(scores))])
    return rows


def _differences(runs: Sequence[Run], shots: Sequence[int]) -> list[list[str]]:
    rows = []
    for name in by_method(runs):
        scores = _scores([run for run in runs if run.spec.method in (name, BASELINE)], common=True)
        ours, theirs = scores.get(name), scores.get(BASELINE)
        if name != BASELINE and ours is not None and theirs is not None:
            estimates = [
                paired_difference(ours[..., shot], theirs[..., shot], np.random.default_rng(0)) for shot in shots
            ]
            cells = [interval(each, len(ours), signed=True, digits=3) for each in estimates]
            rows.append([f"`{name}`", *cells, str(len(ours))])
    return rows


def _scores(runs: Sequence[Run], *, common: bool = False) -> dict[str, NDArray[np.float64] | None]:
    """Normalised scores by method, shape `(num_seeds, num_targets, num_shots + 1)`.

    Seeds that a method has not run in all targets are left out (None where that leaves nothing); with `common`, those
    that any method has not.
    """
    targets = list(by_target(runs))
    found: dict[tuple[str, int, str], NDArray[np.float64]] = {}
    for target, group in by_target(runs).items():
        references = _references(group[0])
        for run in group:
            scores = np.array([normalise(each, references) for each in k_shot(run)])
            found[run.spec.method, run.spec.seed, target] = scores
    methods, seeds = list(by_method(runs)), sorted({run.spec.seed for run in runs})
    whole = {name: [s for s in seeds if all((name, s, target) in found for target in targets)] for name in methods}
    if common:
        shared = set.intersection(*map(set, whole.values()))
        whole = {name: sorted(shared) for name in methods}
    return {
        name: np.array([[found[name, s, target] for target in targets] for s in of_method]) if of_method else None
        for name, of_method in whole.items()
    }


def _cells(returns: NDArray[np.float64], shots: Sequence[int]) -> list[str]:
    return [interval(iqm(returns[:, shot], np.random.default_rng(0)), len(returns)) for shot in shots]


def by_target(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs grouped by what changes from the source, in the order of `TARGETS`, then of their appearance."""
    groups: dict[str, list[Run]] = {describe_context(target): [] for target in TARGETS}
    for run in runs:
        groups.setdefault(describe_context(_change(run.spec)), []).append(run)
    return {name: group for name, group in groups.items() if group}


def _change(spec: RunSpec) -> Context:
    """What the target does not have in common with the source."""
    changed = {name: value for name, value in spec.target.items() if spec.middle.get(name) != value}
    return changed or spec.target


def _references(run: Run) -> dict[str, float]:
    return _reference_returns(tuple(run.spec.target.items()))


@cache
def _reference_returns(target: tuple[tuple[str, float], ...]) -> dict[str, float]:
    return reference_returns(dict(target))


def figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """Score over all targets, and return in each, against episodes; by name: `few_shot` and `few_shot_targets`."""
    overall = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = overall.subplots()
    for name, scores in _scores(runs).items():
        if scores is not None:
            curve = interquartile_mean(scores.reshape(-1, scores.shape[-1]), axis=0)
            axes.plot(curve, color=STYLES[name][0], linestyle=STYLES[name][1], label=name)
    axes.set(xlabel="episodes of adaptation", ylabel="normalised score, all targets", xlim=(0, None))
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    groups = by_target(runs)
    each = Figure(figsize=(12.0, 2.6 * -(-len(groups) // 4)), layout="constrained")
    panels = each.subplots(-(-len(groups) // 4), 4, squeeze=False, sharex=True).flat
    for (target, group), panel in zip(groups.items(), panels, strict=False):
        for name, of_method in by_method(group).items():
            curve = interquartile_mean(np.array([k_shot(run) for run in of_method]), axis=0)
            panel.plot(curve, color=STYLES[name][0], linestyle=STYLES[name][1], label=name)
        panel.set_yscale("symlog", linthresh=1.0)
        panel.set_title(target, fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in panels:
        panel.set_axis_off()
    handles = {
        label: line for panel in each.axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    each.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=7, frameon=False, fontsize=8)
    each.supylabel("return", fontsize=9)
    return {"few_shot": overall, "few_shot_targets": each}


QUESTION = Question(
    name="few_shot", parser=_parser(), specifications=_specifications, line=_line, report=_report, varies=("target",)
)

if __name__ == "__main__":
    sys.exit(main())
