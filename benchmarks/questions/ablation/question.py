"""What each part of NB Pro is worth: one left out or changed at a time, seed by seed beside the whole."""

from __future__ import annotations

import argparse

from benchmarks.methods import METHODS, specify
from benchmarks.methods.kinds.ablation import Variant
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.options import add_budget
from benchmarks.protocol.spec import RunSpec
from benchmarks.questions.ablation import figures as drawn
from benchmarks.questions.ablation import tables as page
from benchmarks.questions.ablation.scores import WHOLE
from benchmarks.questions.protocol_question import ProtocolQuestion
from nb_evaluation.arguments import add_methods, add_seeds, reporting_seeds

VARIANTS = ("nb", *(name for name, method in METHODS.items() if isinstance(method, Variant)))
"""Compared with `WHOLE`; `nb` is NB Pro without blocks."""


class Ablation(ProtocolQuestion):
    """What each part of NB Pro is worth."""

    name = "ablation"
    title = "Ablation: what each part of NB Pro is worth"
    tables = staticmethod(page.tables)
    figures = staticmethod(drawn.ablation_pictures)
    answer = staticmethod(page.answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_methods(parser, VARIANTS, VARIANTS, f"the variants, beside {WHOLE}")
        add_seeds(parser, default=30)
        add_budget(parser, "--pretrain-episodes", 50, "budget at A = 1.0")
        add_budget(parser, "--transfer-episodes", 100, "budget at A = 1.8")

    def specifications(self, options: argparse.Namespace) -> list[RunSpec]:
        """See `Question.specifications`."""
        budget = {name: getattr(options, name) for name in ("pretrain_episodes", "transfer_episodes")}
        specs = [
            specify(method, seed=seed, detail=False, **budget)
            for seed in reporting_seeds(options.seeds)
            for method in dict.fromkeys([WHOLE, *options.methods])
        ]
        anchor_returns(specs[0].target)
        return specs


QUESTION = Ablation()
