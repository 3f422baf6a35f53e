"""One run: pretrain on the source, transfer to the target, measure on the way."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any

from benchmarks.methods import find_method
from benchmarks.methods.kinds.base import Pretrained, count_adapted
from benchmarks.protocol.landscape import survey
from benchmarks.protocol.recorder import Recorder
from benchmarks.protocol.results import Curve, RunResult
from benchmarks.protocol.spec import RunSpec
from nb_agents import Battery
from nb_evaluation.runs.workers import one_torch_thread


def execute(spec: RunSpec) -> RunResult:
    """Run a specification: a pure function of it, to the last bit on one machine.

    Raises:
        ValueError: The method does not exist or cannot run this specification.
    """
    method = find_method(spec.method)
    k_sets: Battery | None = None
    with one_torch_thread():
        recorder = Recorder(spec)
        pretrained = None
        if method.pretrains:
            pretrained = pretrain(spec)
            recorder.curve = copy.deepcopy(pretrained.curve)
            if not spec.detail:  # the shared pretraining knows nothing of this target
                recorder.curve = Curve()
        model = method.begin_transfer(spec, pretrained, recorder)
        if method.adapts == "gates":
            k_sets = Battery(model.policy)
            k_sets.capture("source")
        numbers_adapted = count_adapted(model.policy) if method.adapts else 0
        before = recorder.evaluate(model)
        landscape_before = survey(spec, model.policy) if spec.detail else None
        method.transfer(spec, model, recorder)
        after = recorder.evaluate(model)
        landscape_after = survey(spec, model.policy) if spec.detail else None
        source_restored, kept = None, None
        if k_sets is not None:
            k_sets.capture("target")
            k_sets.apply("source")
            source_restored = recorder.evaluator(model.policy).source
            kept = [k_sets[name].tolist() for name in ("source", "target")]
    return RunResult(
        curve=recorder.curve,
        transfer_episodes=recorder.episodes,
        torques_before=before.torques,
        torques_after=after.torques,
        numbers_adapted=numbers_adapted,
        source_restored=source_restored,
        k_sets=kept,
        landscape_before=landscape_before,
        landscape_after=landscape_after,
    )


def pretrain(spec: RunSpec) -> Pretrained:
    """What the method of a specification brings to the target; the last one is kept, for the next that asks for it."""
    return _pretrained(_pretraining(spec))


def _pretraining(spec: RunSpec) -> RunSpec:
    """The specification with what does not bear on the pretraining taken out, so that runs can share one."""
    shared: dict[str, Any] = {} if spec.detail else {"target": spec.middle, "eval_every": 1}
    return replace(spec, method=find_method(spec.method).pretrains_as or spec.method, **shared)


@lru_cache(maxsize=1)  # runs that follow each other in one worker often share it
def _pretrained(spec: RunSpec) -> Pretrained:
    return find_method(spec.method).pretrain(spec)
