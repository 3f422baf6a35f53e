"""A small deterministic problem in float64: fixed data, no environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from nb_agents.maml.actor import StackedActor
from nb_agents.maml.inner import Batch
from nb_agents.maml.updates.base import MetaData, MetaParameters

TASKS, SAMPLES = 3, 7


def make_actor(
    action_space: spaces.Space | None = None,  # type: ignore[type-arg]
    policy_class: type[ActorCriticPolicy] = ActorCriticPolicy,
    **policy_kwargs: Any,
) -> StackedActor:
    observation_space = spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)
    action_space = action_space or spaces.Box(-1, 1, (2,), dtype=np.float32)
    made = policy_class(observation_space, action_space, lambda _: 1e-3, net_arch=[4, 3], **policy_kwargs)
    policy = made.double()
    actor = StackedActor(policy)
    actor.set_vector(0.5 * torch.randn(actor.n_params, dtype=torch.float64))
    return actor


def make_batch(actor: StackedActor) -> Batch:
    """Random data of policies near the actor's, with some padding."""
    observations = torch.randn(TASKS, SAMPLES, 2, dtype=torch.float64)
    near = actor.get_vector() + 0.1 * torch.randn(TASKS, actor.n_params, dtype=torch.float64)
    outputs = actor.outputs(near, observations).detach()
    actions = actor.sample(outputs)
    mask = torch.ones(TASKS, SAMPLES, dtype=torch.float64)
    mask[1, -2:] = 0
    return Batch(
        observations=observations,
        actions=actions,
        advantages=torch.randn(TASKS, SAMPLES, dtype=torch.float64),
        weights=mask / mask.sum(dim=1, keepdim=True),
        old_outputs=outputs,
        old_log_probs=actor.log_prob(outputs, actions),
    )


@dataclass
class Problem:
    """One meta-iteration with K inner steps."""

    actor: StackedActor
    data: MetaData
    meta: MetaParameters


def make_problem(
    inner_steps: int, *, second_order: bool = True, learn_rates: bool = False, actor: StackedActor | None = None
) -> Problem:
    actor = actor or make_actor()
    batches = [make_batch(actor) for _ in range(inner_steps + 1)]
    data = MetaData(actor, tuple(batches[:-1]), batches[-1], second_order)
    rates = 0.2 + 0.1 * torch.rand(actor.n_params, dtype=torch.float64)
    return Problem(actor, data, MetaParameters(actor.get_vector(), rates, learn_rates))
