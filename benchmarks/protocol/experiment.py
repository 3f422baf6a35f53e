"""One run: pretrain on the source, transfer to the target, measure on the way."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from benchmarks.methods.base import Pretrained, count_adapted
from benchmarks.methods.registry import find_method
from benchmarks.protocol.landscape import Landscape, survey
from benchmarks.protocol.recorder import Curve, Recorder
from benchmarks.protocol.spec import RunSpec
from nb_agents import Battery


@dataclass
class RunResult:
    """What a specification gives, and nothing that depends on when or where it ran.

    Attributes:
        curve: the evaluations; the first is of the untrained policy, the one at the end of the pretraining is the
            zero-shot transfer.
        transfer_episodes: returns of the transfer's training episodes, in the order in which they ended; empty where
            the method does not train on the target.
        torques_before: the deterministic policy's torques from the first fixed start, as the transfer begins.
        torques_after: the same when the transfer has ended.
        numbers_adapted: how many numbers of the deployed policy the transfer could change.
        source_restored: deterministic return in the source context with the k's from before the transfer put back;
            None where the transfer has moved the weights, so that there is no way back.
        k_sets: the k's before and after a transfer of k alone, in the order of `Battery`; None elsewhere.
        landscape_before: returns in other contexts as the transfer begins; None without `RunSpec.detail`.
        landscape_after: the same when the transfer has ended.
    """

    curve: Curve
    transfer_episodes: list[float]
    torques_before: list[float]
    torques_after: list[float]
    numbers_adapted: int
    source_restored: float | None = None
    k_sets: list[list[float]] | None = None
    landscape_before: Landscape | None = None
    landscape_after: Landscape | None = None


def execute(spec: RunSpec) -> RunResult:
    """Run a specification: a pure function of it, to the last bit on one machine.

    Raises:
        ValueError: the method does not exist or cannot run this specification.
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


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Sums over several threads are not the same to the last bit, and the networks are too small to gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
