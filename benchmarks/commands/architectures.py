"""Inserts gates into torchvision's and timm's networks and folds them: `python -m benchmarks architectures`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from benchmarks.commands.networks import NETWORKS
from nb_agents import fold_gates, insert_gates, named_gates
from nb_agents.surgery.copies import copy_of
from nb_evaluation.arguments import add_out, make_out, make_parser
from nb_evaluation.files import write_atomically
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.report.tables import Table, markdown_page
from nb_evaluation.runs.provenance import write_measurement

DESCRIPTION = """\
Put gates into every architecture, with random weights, and compare: the gated
network with the given one to the last bit, and the folded one with the gated one,
whose k's are random by then. Both are compared in both modes. Writes
FOLDER/architectures.json and FOLDER/table.md.
"""
NOTE = """\
Gates: those that `insert_gates(..., foldable=True, fixed=True)` puts in; left out: those that it names, as they could
not be folded. Neutral: whether the gated network gives the given one's outputs to the last bit in train() and eval().
Error: of the folded network, over the largest output, in double precision in both modes and in single in eval()."""


@dataclass
class Outcome:
    """What became of one network; ``refusal`` is the error's text where it was refused."""

    name: str
    parameters: int
    gates: int = 0
    left_out: str = ""
    neutral: bool = False
    double: float | None = None
    single: float | None = None
    refusal: str = ""
    seconds: float = 0.0


def main(arguments: Sequence[str], program: str = "python -m benchmarks architectures") -> int:
    """Measure, write and show; see `--help`.

    Returns:
        The exit status: 0, or 1 where a network became another function.
    """
    any_terminal()
    parser = make_parser(program, DESCRIPTION)
    help_text = f"architectures, of {', '.join(NETWORKS)} (default: all)"
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=help_text)
    add_out(parser, Path("benchmarks/out/architectures"))
    options = parser.parse_args(arguments)
    chosen = options.networks or list(NETWORKS)
    if unknown := [name for name in chosen if name not in NETWORKS]:
        parser.error(f"argument NETWORK: must be one of {', '.join(NETWORKS)}, got {unknown[0]!r}")
    if missing := [name for name in ("torchvision", "timm") if find_spec(name) is None]:
        parser.error(f'{" and ".join(missing)} must be installed: pip install "neural-battery[vision]"')
    make_out(parser, options.out)
    console, outcomes = make_console(), []
    for name in chosen:
        outcomes.append(measure(name, *NETWORKS[name]()))
        console.print("  ".join(_row(outcomes[-1])))
    rows = [asdict(each) for each in outcomes]
    write_measurement(options.out / "architectures.json", Path(__file__).parents[1], command=program, networks=rows)
    page = markdown_page([_table(outcomes)], _summary(outcomes))
    write_atomically(options.out / "table.md", page.encode())
    console.print(_summary(outcomes))
    return int(any(_is_silent(each) for each in outcomes))


def measure(name: str, network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Outcome:
    """Insert gates into ``network``, give them random k's, and fold them."""
    _fill(network)
    outcome, start = Outcome(name, sum(p.numel() for p in network.parameters())), time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            gated = insert_gates(network, example_inputs=inputs, fixed=True, foldable=True)
        texts = {str(each.message) for each in told if "left out" in str(each.message) or "gated" in str(each.message)}
        outcome.left_out, outcome.gates = "; ".join(sorted(texts)), sum(1 for _ in named_gates(gated))
        outcome.neutral = _error(network, gated, inputs) == 0.0
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for _, gate in named_gates(gated):
                gate.k.normal_(generator=generator)
        folded = fold_gates(gated, example_inputs=inputs, methods=(), fixed=True)
        outcome.single = _error(gated, folded, inputs, modes=(False,))
        gated, inputs = gated.double(), tuple(each.double() for each in inputs)
        folded = fold_gates(gated, example_inputs=inputs, methods=(), fixed=True)
        outcome.double = _error(gated, folded, inputs)
    except ValueError as error:
        outcome.refusal = str(error)
    outcome.seconds = time.perf_counter() - start
    return outcome


@torch.no_grad()
def _fill(network: nn.Module) -> None:
    """Draw what starts at 0, as biases and layer scales do: behind it no difference would be seen."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-3:
            parameter.normal_(0.0, 0.3)


@torch.no_grad()
def _error(
    one: nn.Module, other: nn.Module, inputs: tuple[torch.Tensor, ...], modes: tuple[bool, ...] = (True, False)
) -> float:
    """The largest difference of two networks' outputs, over the largest output."""
    errors = [0.0]
    run: Callable[[nn.Module, bool], Any]
    for mode in modes:

        def run(module: nn.Module, mode: bool = mode) -> list[torch.Tensor]:
            torch.manual_seed(2)
            return [y for y in pytree.tree_leaves(copy_of(module).train(mode)(*inputs)) if torch.is_tensor(y)]

        pairs = zip(run(one), run(other), strict=True)
        errors += [float((a - b).abs().max() / a.abs().max().clamp_min(1e-30)) for a, b in pairs]
    return max(errors)


def _is_silent(outcome: Outcome) -> bool:
    errors = (outcome.double, outcome.single)
    return bool(outcome.gates) and (not outcome.neutral or any(e is not None and not e <= 1e-5 for e in errors))


def _row(outcome: Outcome) -> list[str]:
    errors = [f"{error:.0e}" if error is not None else "" for error in (outcome.double, outcome.single)]
    refused = outcome.refusal.replace("|", "/").replace("\n", " ")[:160]
    left = str(outcome.left_out.count("' (")) if outcome.left_out else "0"
    neutral = "yes" if outcome.neutral else "no" if outcome.gates else ""
    numbers = [f"{outcome.parameters / 1e6:.1f} M", str(outcome.gates), left, neutral]
    return [outcome.name, *numbers, *errors, refused]


def _table(outcomes: Sequence[Outcome]) -> Table:
    columns = ["network", "numbers", "gates", "left out", "neutral", "error, double", "error, single", "refused"]
    return Table("Gates in networks of torchvision and timm", columns, [_row(each) for each in outcomes], NOTE)


def _summary(outcomes: Sequence[Outcome]) -> str:
    folded = sum(each.double is not None for each in outcomes)
    refused = sum(bool(each.refusal) for each in outcomes)
    silent = [each.name for each in outcomes if _is_silent(each)]
    changed = f"became another function: {', '.join(silent)}" if silent else "none became another function"
    return f"Of {len(outcomes)} networks {folded} were gated and folded, {refused} refused, and {changed}."
