"""What the report shows of a few-shot job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.methods import by_method
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.run import Run
from benchmarks.questions.few_shot.scores import SHOTS, by_target, k_shot, over_targets, scores
from benchmarks.report import wording
from benchmarks.report.wording import conditions, describe_budget, describe_context, meta_tasks
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict, against, without_gates
from nb_evaluation.report.wording import FEWEST_SEEDS, interval, number, told_apart
from nb_evaluation.runs.groups import difference, paired
from nb_evaluation.stats.estimates import Estimate, interquartile_mean, iqm

BASELINE = "fine-tune"
"""The method that the others are compared with, seed by seed and target by target."""

ANSWERS = (5, 25)
"""Episodes of adaptation after which the answer compares."""

Scores = Mapping[str, Mapping[int, NDArray[np.float64]]]


def tables(runs: Sequence[Run]) -> list[Table]:
    """All targets taken together, the difference to fine-tuning, and one table for each target."""
    shots = [shot for shot in SHOTS if shot <= runs[0].spec.transfer_episodes]
    columns = ["method", *(f"{shot}" for shot in shots), "seeds"]
    found = scores(runs)
    note = (
        "Return of the deterministic policy over fixed starts, normalised target by target: 0 is no torque, 1 the drive"
        " cancelled + PD. Of each seed the interquartile mean over the targets, which leaves out the lowest and the"
        " highest quarter, rounded down, so that how a method does there is told by the tables of single targets"
        " only; of these the interquartile mean over the seeds. Seeds alone are resampled for the intervals, as the"
        " targets of one seed share a pretraining. A seed counts where its method has run all"
        " targets."
        " Policies trained by gradients are updated after each episode; CMA-ES tries another k-set in each."
        f" {missing(runs)}{conditions(runs)} {meta_tasks(runs)}"
    )
    parts = [
        Table("Normalised score after so many episodes, all targets", columns, _overall(found, shots), note.strip()),
        Table(
            f"Difference of the normalised score to `{BASELINE}`, seed by seed and target by target",
            columns,
            _differences(found, shots),
            f"Positive where the method is better than `{BASELINE}`; averaged as above.",
        ),
    ]
    parts += [_by_target(runs, shot) for shot in ANSWERS if shot in shots]
    for target, group in by_target(runs).items():
        rows = [
            [f"`{name}`", *_cells(np.array([k_shot(run) for run in each]), shots), str(len(each))]
            for name, each in by_method(group).items()
        ]
        references = anchor_returns(group[0].spec.target)
        rows += [[f"*{name}*", number(score), *[""] * len(shots)] for name, score in references.items()]
        parts.append(Table(f"Return after so many episodes, {target}", columns, rows))
    return [table for table in parts if table.rows]


def _by_target(runs: Sequence[Run], shot: int) -> Table:
    """How far a method's return is above `BASELINE`'s in each target, on the seeds that both have run there."""
    cells: dict[str, dict[str, str]] = {}
    for target, group in by_target(runs).items():
        for name, pairs in paired(by_method(group), BASELINE).items():
            gain = difference(pairs, lambda run: float(k_shot(run)[shot]))
            cells.setdefault(name, {})[target] = interval(gain, len(pairs), signed=True)
    targets = list(by_target(runs))
    rows = [[f"`{name}`", *(of_method.get(target, "") for target in targets)] for name, of_method in cells.items()]
    title = f"Difference of the return to `{BASELINE}` after {shot} episodes, target by target"
    return Table(title, ["method", *targets], rows, "Interquartile means of the differences, seed by seed.")


def missing(runs: Sequence[Run]) -> str:
    """Which targets some methods lack on all seeds; empty where none does, else it ends in a space."""
    groups = by_target(runs)
    lacking = {
        name: [target for target, group in groups.items() if name not in {run.spec.method for run in group}]
        for name in by_method(runs)
    }
    parts = [f"`{name}` ({'; '.join(targets)})" for name, targets in lacking.items() if targets]
    return f"Left out, for want of targets: {', '.join(parts)}. " if parts else ""


def _overall(found: Scores, shots: Sequence[int]) -> list[list[str]]:
    rows = []
    for name, of_method in found.items():
        each = over_targets(of_method.values())
        rows.append([f"`{name}`", *_cells(each, shots, digits=3), str(len(each))])
    return rows


def _differences(found: Scores, shots: Sequence[int]) -> list[list[str]]:
    rows = []
    for name in found:
        if name == BASELINE or not (estimates := differences(found, name, shots)):
            continue
        num_seeds = len(_shared_seeds(found, name))
        cells = [interval(each, num_seeds, signed=True, digits=3) for each in estimates]
        rows.append([f"`{name}`", *cells, str(num_seeds)])
    return rows


def differences(found: Scores, name: str, shots: Sequence[int]) -> list[Estimate]:
    """How far a method's score is above `BASELINE`'s, on the seeds that both have; empty where there is none."""
    both = _shared_seeds(found, name)
    if not both:
        return []
    gains = over_targets(found[name][seed] - found[BASELINE][seed] for seed in both)
    return [iqm(gains[:, shot], np.random.default_rng(0)) for shot in shots]


def _shared_seeds(found: Scores, name: str) -> list[int]:
    return [seed for seed in found[name] if seed in found.get(BASELINE, {})]


def _cells(each: NDArray[np.float64], shots: Sequence[int], digits: int = 1) -> list[str]:
    """Of returns or scores `(num_runs, transfer_episodes + 1)`."""
    return [interval(iqm(each[:, shot], np.random.default_rng(0)), len(each), digits=digits) for shot in shots]


def answer(runs: Sequence[Run]) -> Verdict | None:
    """Which methods score above or below `BASELINE`; None where no gated method shares enough seeds with it."""
    found, num_targets = scores(runs), len(by_target(runs))
    enough = [name for name in found if name != BASELINE and len(_shared_seeds(found, name)) >= FEWEST_SEEDS]
    sentences, verdict, pretraining = [], None, f"{runs[0].spec.pretrain_episodes:,}"
    for shot in (shot for shot in ANSWERS if shot <= runs[0].spec.transfer_episodes):
        gains = {name: differences(found, name, [shot])[0] for name in enough}
        over = f"{num_targets} change{'s' if num_targets > 1 else ''} of the pendulum"
        if told := told_apart(gains, BASELINE):
            sentences.append(
                f"Normalised score after {pretraining} episodes of pretraining and {shot} of adaptation, interquartile"
                f" mean over {over}: {told}."
            )
        what = f"Score over {over} after {shot} episodes there"
        levels = {name: float(interquartile_mean(over_targets(each.values())[:, shot])) for name, each in found.items()}
        verdict = against(what, gains, BASELINE, " ".join(sentences)) or without_gates(what, levels, digits=3)
    return verdict


def caption(runs: Sequence[Run], command: str) -> str:
    """Seeds, budget, targets and command."""
    spec, targets = runs[0].spec, list(by_target(runs))
    return wording.caption(
        runs,
        command,
        budget=f"{describe_budget(spec)}, one episode at a time on the target",
        route=f"{describe_context(spec.source)} → {'; '.join(targets)}",
    )
