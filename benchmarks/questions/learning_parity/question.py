"""Does a k-gated policy learn as well as the plain one? On SB3's own learning tests, paired by seed.

Writes runs.json, and table.md made from it, into the output folder; a job that was interrupted goes on
where it stopped. One thread; some 25 minutes for all.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks.questions.learning_parity.tasks import TASKS
from nb_agents import PAPER, KGatedMixin
from nb_evaluation.arguments import count
from nb_evaluation.files import write_atomically
from nb_evaluation.report.tables import Table, markdown_page
from nb_evaluation.runs.provenance import commit, versions
from nb_evaluation.runs.specification import FIRST_REPORTING_SEED
from nb_evaluation.seal import add_seal, unseal
from nb_evaluation.stats.estimates import paired_difference

PLAIN, DEFAULT = "plain", "default"
RATIO = "k_lr_ratio="
"""A variant's name may be this and a number: the defaults with another learning rate of the k's, for tuning."""


def variant_name(text: str) -> str:
    """The name of a variant, for the command line.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        gate_arguments(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


class Run(NamedTuple):
    """The scores of a training, after half of it and after all."""

    task: str
    variant: str
    seed: int
    half: float
    end: float


def gate_arguments(variant: str) -> dict[str, Any] | None:
    """The arguments of `KGatedMixin` that a variant stands for, defaults written out; None for the plain policy.

    Raises:
        ValueError: there is no such variant.
    """
    if variant == PLAIN:
        return None
    parameters = inspect.signature(KGatedMixin.__init__).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    kind = defaults.pop("gate_class")
    defaults["k_init"] = kind.k_start
    if variant == DEFAULT:
        return defaults
    if variant == "paper":
        return {**defaults, **PAPER}
    try:
        return defaults | {"k_lr_ratio": float(variant.removeprefix(RATIO))}
    except ValueError:
        raise ValueError(f"variant must be plain, default, paper or {RATIO}NUMBER, got {variant!r}") from None


def read_runs(path: Path, made_with: dict[str, Any]) -> list[Run]:
    """The runs of a file.

    Args:
        path: The file.
        made_with: Versions, the arguments of each variant's gates and the steps of each task, as they are now; those
            that only the file knows are added.

    Raises:
        ValueError: the file is damaged, or was made with other settings or versions.
    """
    if not path.exists():
        return []
    try:
        content = unseal(path.read_bytes())
        runs = [Run(*run) for run in content["runs"]]
        if not all(np.isfinite([run.half, run.end]).all() for run in runs):
            raise ValueError("a score that is not finite")
        before = {name: dict(content[name]) for name in made_with}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no file of runs, or a damaged one ({error!r}): remove it") from error
    for name, now in made_with.items():
        for key, value in before[name].items():
            if now.setdefault(key, value) != value:
                raise ValueError(f"{path} was made with {name} {key} {value}, not {now[key]}: choose another folder")
    return runs


def run_missing(path: Path, tasks: Sequence[str], variants: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """All runs of the file, after those asked for that it lacks have been run and written there."""
    made_with: dict[str, Any] = {
        "versions": versions(),
        "gates": {variant: gate_arguments(variant) for variant in variants},
        "steps": {task: TASKS[task].steps for task in tasks},
    }
    runs, head = read_runs(path, made_with), json.dumps({"commit": commit(), **made_with})
    done = {(run.task, run.variant, run.seed) for run in runs}
    wanted = [(task, variant, seed) for seed in seeds for task in tasks for variant in variants]
    for task, variant, seed in track([each for each in wanted if each not in done], description="runs"):
        runs.append(Run(task, variant, seed, *TASKS[task].run(gate_arguments(variant), seed)))
        lines = ",\n".join(json.dumps(run) for run in runs)
        write_atomically(path, add_seal(f'{head[:-1]}, "runs": [\n{lines}\n]}}\n'.encode()))
    return runs


def difference(scores: Mapping[tuple[str, str], Mapping[int, float]], task: str, variant: str) -> str:
    """Interquartile mean of variant minus plain, seed by seed, and its interval; as a cell."""
    if (task, variant) not in scores:
        return "—"
    ours, plain = scores[task, variant], scores[task, PLAIN]
    seeds = sorted(ours.keys() & plain.keys())
    found = paired_difference([ours[s] for s in seeds], [plain[s] for s in seeds], np.random.default_rng(0))
    cell = f"{found.point:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    return f"**{cell}**" if found.high < 0 else cell


def tables(runs: Sequence[Run]) -> list[Table]:
    """The scores at the end and halfway: the plain policy's, and what the gated ones' differ from it by."""
    made = []
    for moment, title in (("end", "Scores after the training"), ("half", "Scores after half of the training")):
        scores: dict[tuple[str, str], dict[int, float]] = {}
        for run in runs:
            scores.setdefault((run.task, run.variant), {})[run.seed] = getattr(run, moment)
        variants = [each for each in dict.fromkeys(run.variant for run in runs) if each != PLAIN]
        rows = [
            [task, f"{np.mean(list(scores[task, PLAIN].values())):.1f}"]
            + [difference(scores, task, variant) for variant in variants]
            for task in dict.fromkeys(run.task for run in runs)
        ]
        made.append(Table(title, ["task", PLAIN, *(f"{each} − {PLAIN}" for each in variants)], rows))
    return made


def render(runs: Sequence[Run]) -> str:
    """The contents of table.md."""
    used = sorted({run.seed for run in runs})
    closing = (
        f"Seeds {used[0]} to {used[-1]}. Identity tasks: expected return of the deterministic policy, 100 at best;"
        " bit flipping: successes among the last 100 episodes, in per cent. Differences are interquartile means over"
        " the seeds with 95 % bootstrap intervals; bold is worse than the plain policy."
    )
    return markdown_page(tables(runs), closing)


def main(argv: Sequence[str] | None = None) -> None:
    """Run and print; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks learning-parity", description=__doc__)
    parser.add_argument("--seeds", type=count, default=8, metavar="N", help="number of seeds (default: 8)")
    parser.add_argument(
        "--first-seed", type=int, default=FIRST_REPORTING_SEED, metavar="N", help="those below 100 are for tuning"
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help="default: all")
    parser.add_argument(
        "--variants",
        nargs="+",
        type=variant_name,
        default=[DEFAULT, "paper"],
        metavar="VARIANT",
        help=f"default, paper or {RATIO}X",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/learning_parity"), help="output folder")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs = run_missing(options.out / "runs.json", options.tasks, [PLAIN, *options.variants], seeds)
    page = render(runs)
    write_atomically(options.out / "table.md", page.encode())
    Console().print(page, markup=False)


if __name__ == "__main__":
    main()
