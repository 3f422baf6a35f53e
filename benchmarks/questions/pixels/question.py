"""A policy that sees a pendulum as pictures, and pictures whose look changes: their colours, contrast, or camera.

PPO trains SB3's policy for images on the plain look. Then the pendulum is the same and its pictures are others: all
colours inverted, less contrast, the colours of arm and drive exchanged, or the camera turned. The methods train k alone
(a gate for each layer, `nb-k`; blocks of 16 beside them, `nb-pro-k`, and of either sign, `nb-pro-signed-k`; a gate for
each channel, `nb-channel-k`), the biases, the output layer, or everything, for the same number of decisions each. The
controls are the policy as it was (`source`) and a new one (`scratch`).

The score is the deterministic policy's mean return over 16 starts, per episode of 50 decisions: the mean over 20
physics steps of −|θ| − 0.1·|θ̇|, summed. A pendulum that is left alone returns about −119, and a controller that sees
its state −0.2.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.questions.pixels.figures import pixels_pictures
from benchmarks.questions.pixels.tables import METHODS, SHOWN, after, before, pixels_answer, pixels_tables
from nb_evaluation.arguments import reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths


@dataclass(frozen=True, kw_only=True)
class PixelsSpec(Specification):
    """A policy for pictures, and how it adapts to another look.

    Attributes:
        look: Look that it adapts to, a name in `nb_gym.wrappers.LOOKS`.
        pretraining: Decisions of the source's training on the plain look.
        decisions: Decisions of the adaptation.
        protocol: Counted up whenever a change of the code or of the settings changes what a specification gives.
    """

    look: str = "plain"
    pretraining: int = 24_000
    decisions: int = 4_000
    protocol: int = 1
    __hash__ = Specification.__hash__


@dataclass
class PixelsResult:
    """What an adaptation is worth.

    Attributes:
        numbers: Numbers of the actor that were trained.
        before: Returns in the look from each start, before the adaptation.
        after: The same afterwards.
    """

    numbers: int
    before: list[float]
    after: list[float]


class PixelsRun(FinishedRun[PixelsSpec, PixelsResult]):
    """A finished run."""

    spec_type, result_type = PixelsSpec, PixelsResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        for name in ("before", "after"):
            check_lengths(name, getattr(self.result, name), 16)


class Pixels(Question[PixelsSpec, PixelsRun]):
    """What a policy that sees pictures has to change when their look does."""

    name = "pixels"
    title = "Pixels: the same pendulum in pictures of another look"
    run: ClassVar[type[PixelsRun]] = PixelsRun
    methods = METHODS
    varies = ("look",)
    tables = staticmethod(pixels_tables)
    figures = staticmethod(pixels_pictures)
    answer = staticmethod(pixels_answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        super().add_options(parser)
        parser.add_argument("--looks", nargs="+", choices=SHOWN, default=list(SHOWN), help="looks that are adapted to")

    def specifications(self, options: argparse.Namespace) -> Sequence[PixelsSpec]:
        """See `Question.specifications`: all methods in every look."""
        seeds, looks = reporting_seeds(options.seeds), dict.fromkeys(options.looks)
        return [PixelsSpec(method=m, seed=s, look=look) for s in seeds for look in looks for m in options.methods]

    def execute(self, spec: PixelsSpec) -> PixelsResult:
        """See `Question.execute`."""
        from benchmarks.questions.pixels.learners import run
        from nb_evaluation.runs.workers import one_torch_thread

        with one_torch_thread():
            return run(spec)

    def line(self, run: PixelsRun) -> str:
        """See `Question.line`."""
        return f"{run.spec.look:<9} {before(run):8.2f} → {after(run):8.2f}"


QUESTION = Pixels()
