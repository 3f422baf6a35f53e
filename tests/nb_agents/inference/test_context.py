"""The context that a policy is taken `at`: numbers as they are observed, or the parameters by name."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from nb_agents import KGatedMultiInputPolicy, KGatedPolicy
from nb_gym.wrappers import ContextObservation, HistoryObservation

RANGES = {"A": (1.0, 1.5), "torque_gain": (-1.5, 1.5)}


@pytest.fixture(params=[None, "about"])
def policy(request: Any) -> Any:
    env: Any = ContextObservation(gym.make("NBPendulum-v0"), RANGES, key=request.param)
    kwargs = {"k_from": request.param or "context"}
    return PPO(
        KGatedMultiInputPolicy if request.param else KGatedPolicy, env, policy_kwargs=kwargs, device="cpu"
    ).policy


def test_parameters_are_scaled_as_they_are_observed(policy: Any) -> None:
    by_name, scaled = policy.at({"torque_gain": 0.75, "A": 1.375, "m": 1.0}), policy.at([0.5, 0.5])
    for (name, value), wanted in zip(by_name.state_dict().items(), scaled.state_dict().values(), strict=True):
        assert torch.equal(value, wanted), name


def test_a_context_far_outside_is_said(policy: Any) -> None:
    policy.at([1.9, 4 / 3])  # warnings are errors here
    for far in ([2.2, 4 / 3], {"A": 1.8, "torque_gain": 2.0}):
        with pytest.warns(UserWarning, match="context is far outside the ranges that scale it: A of {'A'"):
            policy.at(far)


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        ("x", TypeError, r"context must be 2 finite numbers, as they are observed, .* shape \(2,\); got 'x'"),
        (None, TypeError, "context must be 2 finite .*; got None"),
        (["1", "2"], TypeError, r"context must be 2 finite .*; got \['1', '2'\]"),
        (1.0, ValueError, "context must be 2 finite .*; got 1.0"),
        ([0.0, np.nan], ValueError, "context must be 2 finite"),
        ({}, ValueError, r"context must hold 'A', which is observed; got \[\]"),
        ({"A": "heavy", "torque_gain": 1.0}, TypeError, r"context\['A'\] must be a number, got 'heavy'"),
    ],
)
def test_what_is_no_context_is_named(policy: Any, context: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        policy.at(context)


def test_a_part_without_ranges_takes_numbers_alone() -> None:
    env = HistoryObservation(ContextObservation(gym.make("NBPendulum-v0"), RANGES), 2)
    policy: Any = PPO(KGatedPolicy, env, policy_kwargs={"k_from": "history"}, device="cpu").policy
    policy.at(np.full(12, 50.0))
    with pytest.raises(ValueError, match="must be numbers as they are observed: the observation's space does"):
        policy.at({"A": 1.0})
