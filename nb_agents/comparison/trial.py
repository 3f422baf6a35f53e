"""Models as the runs will make them, built once before anything is trained: what cannot work is said at once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from nb_agents.comparison.contextual import untrained_teacher
from nb_agents.comparison.execution import gated
from nb_agents.comparison.methods import METHODS
from nb_agents.comparison.specification import ComparisonSpec
from nb_agents.comparison.training import build, worlds_of
from nb_agents.comparison.worlds import over_contexts
from nb_agents.inference.teaching import environments


def check_models(spec: ComparisonSpec, methods: Sequence[str]) -> None:
    """Build the model of each method.

    Raises:
        ValueError: The settings do not make a model of the algorithm, or a method has no place in it.
    """
    with closing(worlds_of(spec, spec.source)) as env:
        try:
            plain = build(spec, env)
        except Exception as error:  # SB3 asserts, and fails wherever a value is used first
            given = " ".join(f"{name}={value!r}" for name, value in spec.settings.items()) or "SB3's own settings"
            raise ValueError(f"algo {spec.algo} cannot be made for {spec.env} with {given}: {_line(error)}") from error
        masked = "action_masks" in inspect.signature(plain.predict).parameters
        if masked and not env.unwrapped.has_attr("action_masks"):
            raise ValueError(f"algo {spec.algo} needs an environment with a method action_masks, {spec.env} has none")
        for method in methods:
            _check(spec, method, plain)


def _check(spec: ComparisonSpec, method: str, plain: BaseAlgorithm) -> None:
    try:
        if METHODS[method].trains:
            model: Any = gated(plain, METHODS[method])
            model.policy.train_only(METHODS[method].trains)
            return
        frequency = getattr(plain, "train_freq", None)
        if isinstance(frequency, TrainFreq) and frequency.unit != TrainFrequencyUnit.STEP:
            raise ValueError(
                f"it learns from several environments, so that train_freq must be in steps; got {frequency}"
            )
        with closing(worlds_of(spec, over_contexts(spec), shown=True)) as env:
            environments(untrained_teacher(plain, env), None)
    except Exception as error:
        raise ValueError(f"method {method} cannot be used with {spec.algo} on {spec.env}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
