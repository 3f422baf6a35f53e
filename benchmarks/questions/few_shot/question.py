"""What a few episodes of adaptation are worth: the return after each of them, in ten other pendulums."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.methods import METHODS, specify
from benchmarks.methods.kinds.ablation import Variant
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.options import add_budget, add_context
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import RunSpec
from benchmarks.questions.few_shot import figures as drawn
from benchmarks.questions.few_shot import tables as page
from benchmarks.questions.few_shot.scores import SHOTS, TARGETS, change, k_shot
from benchmarks.questions.protocol_question import ProtocolQuestion
from benchmarks.report.wording import describe_context
from nb_evaluation.arguments import add_methods, add_seeds, parse_assignments, reporting_seeds
from nb_evaluation.report.wording import number

CHOICES = tuple(name for name, method in METHODS.items() if method.adapts and not isinstance(method, Variant))
"""The methods that adapt; `scratch` is the control that has learned nothing before."""


class FewShot(ProtocolQuestion):
    """What a few episodes of adaptation are worth."""

    name = "few_shot"
    title = "Few-shot: what a few episodes of adaptation are worth"
    varies = ("target",)
    tables = staticmethod(page.tables)
    figures = staticmethod(drawn.few_shot_pictures)
    answer = staticmethod(page.answer)
    caption = staticmethod(page.caption)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_methods(parser, CHOICES, CHOICES)
        targets = [f"{name}={value}" for target in TARGETS for name, value in target.items()]
        add_context(parser, "--targets", targets, "what changes from the source, one thing at a time")
        add_context(parser, "--source", ["A=1.0"], "parameters of the source pendulum, numbers or ranges")
        add_seeds(parser, default=10)
        add_budget(parser, "--pretrain-episodes", 50, "budget on the source")
        add_budget(parser, "--shots", SHOTS[-1], "budget on each target")

    def specifications(self, options: argparse.Namespace) -> list[RunSpec]:
        """One for each seed, method and target; those that share a pretraining follow each other."""
        source = parse_assignments(options.source)
        middle = {name: float(np.mean(value)) for name, value in source.items()}
        targets = [parse_assignments([each]) for each in dict.fromkeys(options.targets)]
        order = list(METHODS)
        methods = sorted(
            dict.fromkeys(options.methods), key=lambda name: order.index(METHODS[name].pretrains_as or name)
        )
        budget = {"pretrain_episodes": options.pretrain_episodes, "transfer_episodes": options.shots}
        specs = [
            _specification(method, seed=seed, source=source, target={**middle, **target}, **budget)
            for seed in reporting_seeds(options.seeds)
            for method in methods
            for target in targets
        ]
        for spec in specs[: len(targets)]:
            anchor_returns(spec.target)
        return specs

    def line(self, run: Run) -> str:
        """See `Question.line`."""
        returns = k_shot(run)
        return f"{describe_context(change(run.spec)):<18} {number(returns[0]):>8} → {number(returns[-1]):>8}"


def _specification(method: str, **options: Any) -> RunSpec:
    """One environment, so an update after each episode; a meta-learner takes an inner step after each, too."""
    own = METHODS[method].own_settings(options["pretrain_episodes"])
    meta = own and replace(own, adapt_episodes=1)
    return specify(method, transfer_envs=1, eval_every=1, detail=False, meta=meta, **options)


QUESTION = FewShot()
