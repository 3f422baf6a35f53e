"""The distributions of actions that a policy gives: how far apart two are, and how fast one turns into others."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import BasePolicy
from torch.distributions import Bernoulli, Categorical, Distribution, Normal, kl_divergence

Components = list[Distribution]
"""Independent distributions of torch, batched, whose product is that of an action before it is squashed.

A squashed action is an invertible function of that, the same for all, which neither divergences nor scores can see.
"""


def prepare(policy: Any, observations: Any) -> Any:
    """Observations as tensors of a policy that has distributions.

    Args:
        policy: Policy of SB3 or sb3-contrib.
        observations: Batch of observations as the policy sees them; arrays by name where its space is a dictionary.

    Raises:
        TypeError: If it is no policy, or one without distributions or with a memory.
        ValueError: If the observations are of another space, none, or not finite.
    """
    if not isinstance(policy, BasePolicy):
        raise TypeError(f"network must be a policy of SB3 for distributions of actions, got {type(policy).__name__}")
    if hasattr(policy, "lstm_actor"):
        raise TypeError(f"network must act on the observation alone, got a {type(policy).__name__} with a memory")
    if not _is_stochastic(policy):
        raise TypeError(
            f"network must have a distribution of actions, got a deterministic {type(policy).__name__}: the divergence "
            "of two of its k-sets is infinite or 0"
        )
    space = policy.observation_space
    if isinstance(observations, Mapping) and {*observations} != {*getattr(space, "spaces", ())}:
        raise ValueError(f"observations must be a batch of {space}, got the parts {[*observations]}")
    try:
        tensors, batched = policy.obs_to_tensor(observations)
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ValueError(f"observations must be a batch of {space}: {error}") from None
    for part in tensors.values() if isinstance(tensors, Mapping) else [tensors]:
        if not len(part):
            raise ValueError("observations must be at least one, got none")
        if part.is_floating_point() and not part.isfinite().all():
            raise ValueError(f"observations must be finite, got {part[~part.isfinite()][0].item()}")
    if not batched:
        raise ValueError(f"observations must be a batch of {space}, got a single one")
    return tensors


def _is_stochastic(policy: Any) -> bool:
    return hasattr(getattr(policy, "actor", None), "get_action_dist_params") or hasattr(policy, "get_distribution")


def components(policy: Any, observations: Any) -> Components:
    """The distributions of actions for prepared observations, with parameters of float64."""
    actor: Any = getattr(policy, "actor", None)
    with _acting(policy), _whole(policy, actor) as kind:
        if hasattr(actor, "get_action_dist_params"):
            mean, log_std, more = actor.get_action_dist_params(observations)
            made = kind.proba_distribution(mean, log_std, **more)
        else:
            made = policy.get_distribution(observations)
        found = getattr(made, "distributions", None) or made.distribution  # sb3-contrib's masked one has a list, too
        return [_in_float64(each) for each in (found if isinstance(found, list) else [found])]


@contextmanager
def _acting(policy: Any) -> Iterator[None]:
    """In the mode in which `predict` acts, and back."""
    modes = [(module, module.training) for module in policy.modules()]
    policy.set_training_mode(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _whole(policy: Any, actor: Any) -> Iterator[Any]:
    """A copy of the distribution in its place: gSDE's hides from gradients that its spread depends on the k's."""
    owner = actor if hasattr(actor, "action_dist") else policy
    before = owner.action_dist
    owner.action_dist = copy.copy(before)
    if hasattr(before, "learn_features"):
        owner.action_dist.learn_features = True
    try:
        yield owner.action_dist
    finally:
        owner.action_dist = before


def _in_float64(made: Any) -> Distribution:
    if isinstance(made, Normal):
        return Normal(made.loc.double(), made.scale.double(), validate_args=False)
    if isinstance(made, Categorical):
        return Categorical(logits=made.logits.double(), validate_args=False)
    if isinstance(made, Bernoulli):
        return Bernoulli(logits=made.logits.double(), validate_args=False)
    raise TypeError(f"network must have one of SB3's distributions of actions, got {type(made).__name__}")


def divergence(p: Components, q: Components) -> torch.Tensor:
    """KL(p || q) of each row in nats, shape ``(n,)``."""
    parts = [kl_divergence(ours, theirs) for ours, theirs in zip(p, q, strict=True)]
    return sum((part.flatten(1).sum(dim=1) if part.dim() > 1 else part for part in parts), torch.zeros(()))


def log_likelihood(p: Components, actions: torch.Tensor) -> torch.Tensor:
    """Logarithm of the density of each action before it is squashed, shape ``(n,)``; actions are ``(n, ...)``."""
    if len(p) > 1:
        columns = actions.reshape(len(actions), len(p)).unbind(dim=1)
        return torch.stack([each.log_prob(column) for each, column in zip(p, columns, strict=True)]).sum(dim=0)
    found = p[0].log_prob(actions.reshape(len(actions), *p[0].batch_shape[1:]))
    return found.flatten(1).sum(dim=1) if found.dim() > 1 else found


def embedding(p: Components) -> torch.Tensor:
    """Coordinates whose derivatives' inner products are the Fisher information, shape ``(n, m)``.

    They are that at the parameters that p has: mean over deviation and √2 log of the deviation of a Gaussian, √p log p
    of each choice of a categorical, and √(p (1 − p)) times the logit of a Bernoulli variable; only what is
    differentiated in each of them is taken for a variable.
    """
    columns = []
    for each in p:
        if isinstance(each, Normal):
            columns += [each.loc / each.scale.detach(), np.sqrt(2.0) * each.scale.log()]
        elif isinstance(each, Categorical):
            columns.append(each.probs.detach().sqrt() * each.logits)
        elif isinstance(each, Bernoulli):
            columns.append((each.probs * (1.0 - each.probs)).detach().sqrt() * each.logits)
    return torch.cat([column.flatten(1) for column in columns], dim=1)
