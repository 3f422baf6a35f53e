"""Steps in a task: those by which its dynamics are kept beside its k-set, and those by which it is known again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.protocol.environments import make_vector_env
from benchmarks.protocol.settings import AlgorithmSettings
from benchmarks.protocol.spec import EPISODE_STEPS, Parameters

if TYPE_CHECKING:  # imported where they are used: neither is needed to read results
    from stable_baselines3.common.policies import BasePolicy

    from nb_agents import Transitions

KEPT_ROWS, RECENT = 10, 50
"""Episodes that a task's dynamics are learned from, and decisions by which it is known again: an episode's."""


def steps_in(
    task: Parameters, settings: AlgorithmSettings, policy: BasePolicy, rows: int, steps: int, seed: list[int]
) -> Transitions:
    """What a policy meets in a task as it explores, from the start of an episode on; not more than an episode's.

    Args:
        task: Context.
        settings: What the policy sees of it.
        policy: Policy, which draws its actions.
        rows: Pendulums side by side.
        steps: Decisions in each.
        seed: Entropy of starts and actions; the random numbers of a training are left alone.

    Returns:
        `rows * steps` transitions.
    """
    import torch

    from nb_agents import Transitions

    first, second = np.random.SeedSequence(seed).generate_state(2)
    env = make_vector_env(settings, rows, **task)
    before, _ = env.reset(seed=int(first))
    seen: list[tuple[Any, ...]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(second))
        for _ in range(min(steps, EPISODE_STEPS // settings.frame_skip)):
            action, _ = policy.predict(before)
            after, reward, *_ = env.step(action)
            seen.append((before, action, after, reward))
            before = after
    return Transitions(*(np.concatenate(column) for column in zip(*seen, strict=True)))
