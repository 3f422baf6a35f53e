"""Chooses the methods' learning rates on tuning seeds: `python -m benchmarks vision-tune`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.questions.vision.methods import METHODS
from benchmarks.questions.vision.sets import FOLDER, read_set
from benchmarks.questions.vision.shifts import NAMES
from benchmarks.questions.vision.tables import FEW
from nb_evaluation.arguments import add_methods, add_out, add_seeds, make_out, make_parser
from nb_evaluation.files import write_atomically
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.report.tables import Table, markdown_page
from nb_evaluation.runs.provenance import write_measurement
from nb_evaluation.runs.workers import one_torch_thread

DESCRIPTION = f"""\
Try three learning rates of each method on Fashion-MNIST's shifts at the middle
severity, with {FEW} labelled pictures and seeds from 0 up, which no report uses.
Writes FOLDER/trials.json and FOLDER/table.md.
"""


def main(arguments: Sequence[str], program: str = "python -m benchmarks vision-tune") -> int:
    """Try, write and show; see `--help`.

    Returns:
        The exit status, 0.
    """
    any_terminal()
    parser = make_parser(program, DESCRIPTION)
    add_methods(parser, METHODS, tuple(METHODS), "what to choose rates for")
    add_seeds(parser, 2, "number of tuning seeds, from 0 up")
    parser.add_argument("--data", type=Path, default=FOLDER, metavar="FOLDER", help=f"see vision (default: {FOLDER})")
    add_out(parser, Path("benchmarks/out/vision-tune"))
    options = parser.parse_args(arguments)
    try:
        images = read_set("fashion", options.data)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    make_out(parser, options.out)
    console, rows, found = make_console(), [], {}
    with one_torch_thread():
        for name in options.methods:
            means = trials(name, images, options.seeds)
            best = max(means, key=lambda rate: means[rate])
            tried = ", ".join(f"{rate:g}: {mean:.2f}" for rate, mean in means.items())
            rows.append([f"`{name}`", f"{best:g}", f"{means[best]:.2f}", tried])
            found[name] = [[rate, mean] for rate, mean in means.items()]
            console.print("  ".join(rows[-1]), highlight=False)
    write_measurement(options.out / "trials.json", Path(__file__).parents[2], command=program, trials=found)
    table = Table("Accuracy by learning rate", ["method", "best rate", "its accuracy", "rate: accuracy"], rows)
    write_atomically(options.out / "table.md", markdown_page([table]).encode())
    return 0


def trials(name: str, images: str, seeds: int) -> dict[float, float]:
    """Mean accuracy with each of a method's rates, over shifts and seeds; one without rates is tried as it is."""
    from benchmarks.questions.vision.adapting import adapted
    from benchmarks.questions.vision.question import VisionSpec

    middle = [shift for shift in NAMES if shift.endswith("2")]
    specs = [VisionSpec(method=name, seed=i, set="fashion", images=images, sizes=(FEW,)) for i in range(seeds)]
    rates = METHODS[name].trials or (0.0,)
    return {rate: float(np.mean([adapted(spec, rate, middle).accuracy for spec in specs])) for rate in rates}
