"""MAML on the literature's task: what one inner step reaches on Navigation2D, beside the controls that could fool us.

The settings are those of tristandeleu/pytorch-maml-rl's 2-D navigation: 20 goals × 20 episodes × 100 steps for the
inner step and again for the adapted policies, 1 inner step at rate 0.1, tanh 2 × 64, γ 0.99, GAE λ 1, TRPO within a KL
of 0.01, 40 meta-iterations. Run on this project's reference machine, that implementation returns −39.9 before and −17.4
after adapting (mean of meta-iterations 21 to 40, goals drawn afresh in each).

That a return grows by adapting proves nothing: an untrained network gains from its first inner step too. So what counts
is the level after the same inner step on goals that were held out, beside an untrained initialisation, and one trained
on all goals with the same number of environment steps but without adapting.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.runs.cached_runs import add_arguments, cached_runs, write_report
from nb_agents.maml import ANIL, FOMAML, MAML, JointTraining, MetaSGD, ProMP, Reptile, TRPOUpdate
from nb_evaluation.files import write_atomically
from nb_evaluation.report.screen import any_terminal, make_console, show_table
from nb_evaluation.report.tables import Table
from nb_evaluation.stats.estimates import paired_difference

PEER = {"before": -39.9, "after": -17.4}
ITERATIONS = 40
LAST = 20
"""The mean is taken over so many last meta-iterations."""
METHODS: dict[str, type[MAML]] = {
    "maml": MAML,
    "fomaml": FOMAML,
    "anil": ANIL,
    "meta-sgd": MetaSGD,
    "promp": ProMP,
    "reptile": Reptile,
    "joint": JointTraining,
    "untrained": MAML,
}


def draw_goals(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """The task sampler: goals uniform in [−0.5, 0.5]²."""
    return [{"goal": goal} for goal in rng.uniform(-0.5, 0.5, size=(n, 2))]


HELD_OUT = draw_goals(np.random.default_rng(2017), 40)


SETTINGS: dict[str, Any] = {
    "tasks_per_iteration": 20,
    "episodes_per_task": 20,
    "inner_lr": 0.1,
    "gamma": 0.99,
    "gae_lambda": 1.0,
    "normalize_observations": False,
    "policy_kwargs": {"net_arch": [64, 64]},
}
OUTER = TRPOUpdate(max_kl=0.01)
"""Of all but ProMP and Reptile, which have outer updates of their own."""


def make(method: str, seed: int) -> MAML:
    """An algorithm with the settings that all share."""
    outer: dict[str, Any] = {} if method in ("promp", "reptile") else {"outer": OUTER}
    return METHODS[method]("MlpPolicy", "Navigation2D-v0", draw_goals, seed=seed, device="cpu", **SETTINGS, **outer)


def run(method: str, seed: int, iterations: int = ITERATIONS) -> dict[str, Any]:
    """Meta-train and follow the returns on held-out goals.

    Args:
        method: One of `METHODS`.
        seed: Of everything.
        iterations: Meta-iterations of MAML; the others get as many environment steps, in whole meta-iterations.

    Returns:
        ``steps``, environment steps so far; ``training``, mean returns before and after each meta-iteration's inner
        step on its own new goals; ``held_out``, the same on the held-out goals after the update; and ``final``, returns
        on those before any and after 1, 2 and 3 steps, shape ``(4, goals)``.
    """
    torch.set_num_threads(1)
    maml = make(method, seed)
    rollouts = maml.rollouts_per_iteration
    curve: dict[str, list[Any]] = {"steps": [], "training": [], "held_out": []}
    for _ in range(0 if method == "untrained" else iterations * 2 // rollouts):
        without_log_folder(maml).learn(1, log_interval=2, reset_num_timesteps=False)  # one whole meta-iteration
        logged = maml.logger.name_to_value
        curve["steps"].append(maml.num_timesteps)
        curve["training"].append([logged[f"rollout/return_step_{k}"] for k in range(rollouts)])
        curve["held_out"].append(maml.evaluate(HELD_OUT, steps=1, seed=seed).mean(axis=(1, 2)).tolist())
    final = maml.evaluate(HELD_OUT, steps=3, seed=seed).mean(axis=2)
    return {"method": method, "seed": seed, **curve, "final": final.tolist()}


def level(runs: Sequence[dict[str, Any]], key: str) -> NDArray[np.float64]:
    """Mean of each run's last meta-iterations, before and after the inner step; shape ``(runs, 2)``."""
    return np.array([np.mean(r[key][-LAST:], axis=0) for r in runs])


def summarise(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Levels of each method and MAML's paired differences from the others."""
    finals = {method: np.array([r["final"] for r in of_method]) for method, of_method in runs.items()}
    summary: dict[str, Any] = {"peer": PEER}
    for method, final in finals.items():
        row: dict[str, Any] = {f"final_step_{k}": float(final[:, k].mean()) for k in range(final.shape[1])}
        if method != "untrained":
            row["held_out_last_20"] = level(runs[method], "held_out").mean(axis=0).tolist()
            row["training_last_20"] = level(runs[method], "training").mean(axis=0).tolist()
        if method != "maml" and "maml" in finals:
            rng = np.random.default_rng(0)
            gain = paired_difference(finals["maml"][:, 1], final[:, 1], rng)
            row["maml_minus_this_after_one_step"] = {"point": gain.point, "low": gain.low, "high": gain.high}
        summary[method] = row
    return summary


def show(summary: dict[str, Any]) -> None:
    """Print the table."""
    columns = (
        "method",
        "before",
        "1 step",
        "2 steps",
        "3 steps",
        "last 20, before / after",
        "MAML − this, 1 step",
    )
    rows = []
    for method, row in summary.items():
        if method == "peer":
            continue
        last = row.get("held_out_last_20")
        gain = row.get("maml_minus_this_after_one_step")
        cells = [
            method,
            *(f"{row[f'final_step_{k}']:.1f}" for k in range(4)),
            f"{last[0]:.1f} / {last[1]:.1f}" if last else "",
            f"{gain['point']:.1f} [{gain['low']:.1f}, {gain['high']:.1f}]" if gain else "",
        ]
        rows.append(cells)
    rows.append(["pytorch-maml-rl", "", "", "", "", f"{PEER['before']} / {PEER['after']}", ""])
    show_table(Table("Navigation2D, return on held-out goals (exploring policies)", columns, rows), make_console())


def plot(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Held-out returns before and after one inner step, against environment steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for color, method in zip(("tab:blue", "tab:orange"), ("maml", "joint"), strict=True):
        steps = np.mean([r["steps"] for r in runs[method]], axis=0)
        curves = np.array([r["held_out"] for r in runs[method]])
        for k, style in enumerate(("--", "-")):
            axes.plot(steps, curves[..., k].mean(axis=0), style, color=color, label=f"{method}, {k} inner steps")
            axes.fill_between(steps, curves[..., k].min(axis=0), curves[..., k].max(axis=0), color=color, alpha=0.15)
    axes.axhline(PEER["after"], color="grey", linestyle=":", label="pytorch-maml-rl after 1 step, iterations 21-40")
    untrained = np.mean([r["final"] for r in runs["untrained"]], axis=(0, 2))[1]
    axes.axhline(untrained, color="black", linestyle=":", label="untrained after 1 step")
    axes.set(
        xlabel="environment steps", ylabel="return on held-out goals", title="Navigation2D (mean and range of seeds)"
    )
    axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    write_atomically(path, buffer.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the summary, the curves and the figure."""
    any_terminal()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks navigation", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=list(METHODS),
        default=["maml", "joint", "untrained"],
        metavar="METHOD",
        help=f"of {', '.join(METHODS)}",
    )
    add_arguments(parser, "benchmarks/out/navigation")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args(arguments)
    settings = SETTINGS | {"outer": OUTER, "iterations": ITERATIONS}
    try:
        done = cached_runs(options.methods, options.seeds, run, settings, options.runs)
    except ValueError as error:
        parser.error(str(error))
    runs = {method: [r for r in done if r["method"] == method] for method in options.methods}
    summary = summarise(runs)
    show(summary)
    write_report(options.out / "navigation.json", summary=summary, runs=_rounded(done))
    if {"maml", "joint", "untrained"} <= set(options.methods):
        plot(runs, options.out / "navigation.png")


def _rounded(values: Any) -> Any:
    """Two decimals are more than the seeds' spread deserves, and keep the file small."""
    if isinstance(values, float):
        return round(values, 2)
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    return [_rounded(value) for value in values] if isinstance(values, list) else values


if __name__ == "__main__":
    main()
