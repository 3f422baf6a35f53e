"""From a k-set for each row to actions: what stands behind the gated layers of a policy, without SB3's detours."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

from nb_agents.inference.conditioned import ConditionedNet


def acts_on_k(policy: BasePolicy) -> bool:
    """Whether `act` is for the policy: one of PPO, A2C and their like, whose layers see the observation itself."""
    return isinstance(policy, ActorCriticPolicy)


def act(policy: Any, net: ConditionedNet, x: torch.Tensor, k: torch.Tensor, deterministic: bool) -> torch.Tensor:
    """What ``policy._predict`` returns, without a distribution where its mode is known.

    Args:
        policy: Policy for which `acts_on_k` holds.
        net: Its gated layers.
        x: Observations, ``(batch, n_observed)``.
        k: k-sets, ``(batch, n_k)``.
        deterministic: Whether the mode is taken.
    """
    latent = net.run(x, k)
    if deterministic and type(policy.action_dist) is DiagGaussianDistribution:
        return policy.action_net(latent)  # type: ignore[no-any-return]
    if deterministic and type(policy.action_dist) is CategoricalDistribution:
        return policy.action_net(latent).argmax(dim=1)  # type: ignore[no-any-return]
    return policy._get_action_dist_from_latent(latent).get_actions(deterministic=deterministic)  # type: ignore[no-any-return]


def into_space(actions: torch.Tensor, space: spaces.Space[Any], low: Any, high: Any, squashed: bool) -> torch.Tensor:
    """Actions of a policy as the environment takes them, shape ``(batch, *action_shape)``; as SB3's ``predict``.

    Args:
        actions: What ``policy._predict`` returned.
        space: Space of the actions.
        low: Tensor of its lower bounds, if it is a `Box`.
        high: Tensor of its upper bounds.
        squashed: Whether the policy's actions are in [-1, 1], and not in the space itself.
    """
    actions = actions.reshape(-1, *(space.shape or ()))
    if not isinstance(space, spaces.Box):
        return actions
    return low + 0.5 * (actions + 1.0) * (high - low) if squashed else torch.clamp(actions, low, high)
