"""A value network for those who go on with PPO from an adapted policy.

MAML's own advantages come from a linear baseline, so its policy's value network is as it was initialised. PPO would
spend its first updates on advantages of a critic that knows nothing, at the adapted policy's expense.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from nb_agents.maml.acting import shaped
from nb_agents.maml.baseline import bootstrap_values, bootstrapped_returns
from nb_agents.maml.rollout import Rollout


def fit_critic(
    policy: ActorCriticPolicy,
    rollouts: Sequence[Rollout],
    actor_parameters: Sequence[str],
    *,
    gamma: float,
    reward_scale: float = 1.0,
    steps: int = 200,
    learning_rate: float = 1e-3,
) -> None:
    """Regress the value network on discounted returns, bootstrapped at truncations; the actor does not move.

    It is a regression and no training of the policy: gates of the critic learn at the rate of the weights here, without
    the k-target.

    Args:
        policy: The policy, changed in place.
        rollouts: The data.
        actor_parameters: Names of the parameters that must stay, though the critic may share them.
        gamma: Discount factor.
        reward_scale: Factor between these rewards and those the critic is to predict.
        steps: Number of Adam's steps on all data.
        learning_rate: Rate of Adam.
    """
    observations = torch.cat([rollout.observations[rollout.mask.bool()] for rollout in rollouts])
    tails = (bootstrap_values(rollout, gamma) for rollout in rollouts)
    returns = (bootstrapped_returns(rollout, gamma, tail) for rollout, tail in zip(rollouts, tails, strict=True))
    parts = [each[r.mask.bool()].to(r.rewards.dtype) for each, r in zip(returns, rollouts, strict=True)]
    targets = torch.cat(parts) * reward_scale
    kept = set(actor_parameters)
    critic = [p for name, p in policy.named_parameters() if name not in kept and p.requires_grad]
    optimizer = torch.optim.Adam(critic, lr=learning_rate)
    # The output layer is shifted and scaled to the targets first: what is left to learn is of order 1.
    with torch.no_grad():
        policy.value_net.weight.mul_(targets.std(unbiased=False) + 1e-8)
        policy.value_net.bias.fill_(float(targets.mean()))
    scale = targets.var(unbiased=False) + 1e-8
    for _ in range(steps):
        features = policy.vf_features_extractor(shaped(policy, observations))
        values = policy.value_net(policy.mlp_extractor.forward_critic(features)).squeeze(-1)
        loss = ((values - targets) ** 2).mean() / scale
        gradients = torch.autograd.grad(loss, critic, allow_unused=True)
        for parameter, gradient in zip(critic, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    policy.zero_grad(set_to_none=True)
