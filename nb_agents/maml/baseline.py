"""Advantages: generalised advantage estimation over a linear baseline fitted to each task's own episodes.

The baseline is the linear-feature baseline of Duan et al. (2016, https://arxiv.org/abs/1604.06778): regression of the
return on the observations, their squares and powers of time, refitted in closed form for every rollout. Time enters
as the fraction of the horizon, so that it stays in [0, 1] whatever the length of an episode.

An episode that was truncated would have gone on. What it would have earned cannot be a function of the time that is
left to the limit, so it is estimated by a second regression without time features, `_value_weights`.
"""

from __future__ import annotations

import torch

from nb_agents.maml.rollout import Rollout

RIDGE = 1e-5
"""Weight of the L2 penalty, per sample; the features are standardised."""


def advantages(rollout: Rollout, gamma: float, gae_lambda: float) -> torch.Tensor:
    """Advantages of every step, normalised to mean 0 and standard deviation 1 in each task.

    Args:
        rollout: The episodes.
        gamma: Discount factor.
        gae_lambda: Factor λ of GAE (Schulman et al. 2016, https://arxiv.org/abs/1506.02438).

    Returns:
        Shape ``(tasks, E, T)``, 0 behind an episode's end.
    """
    rewards, mask = rollout.rewards.double(), rollout.mask.double()
    tail = bootstrap_values(rollout, gamma)
    values = baseline_values(rollout, gamma, tail) * mask
    # The value of the state that a step leads to: the next step's, and at an episode's last step the tail's.
    following = torch.cat([values[:, :, 1:], torch.zeros_like(values[:, :, :1])], dim=2)
    last = mask - torch.cat([mask[:, :, 1:], torch.zeros_like(mask[:, :, :1])], dim=2)
    deltas = rewards + gamma * (following + last * tail[:, :, None]) - values
    advantage = discounted_sums(deltas * mask, gamma * gae_lambda)
    return _normalise(advantage, mask).to(rollout.rewards.dtype)


def bootstrap_values(rollout: Rollout, gamma: float) -> torch.Tensor:
    """Estimated value of each episode's final state, shape ``(tasks, E)``: 0 where the episode terminated.

    The estimate is kept within what rewards of the observed size can add up to, ``[min r, max r] / (1 − gamma)``;
    with ``gamma = 1`` that is unbounded, the task is undiscounted and the horizon belongs to it: no bootstrap.
    """
    truncated = ~rollout.terminated
    if gamma == 1.0 or not truncated.any():
        return torch.zeros_like(rollout.rewards[:, :, 0], dtype=torch.float64)
    mask = rollout.mask.double()
    features, final = _state_features(rollout)
    steps_left = discounted_sums(mask, 1.0)
    weights = _value_weights(
        features * mask[..., None],
        discounted_sums(rollout.rewards.double(), gamma),
        final * truncated[..., None],
        gamma**steps_left * mask,
    )
    value = torch.einsum("tef,tf->te", final, weights)
    rewards = rollout.rewards.double().masked_fill(mask == 0, torch.nan)
    low = torch.nan_to_num(rewards, nan=torch.inf).amin(dim=(1, 2)) / (1 - gamma)
    high = torch.nan_to_num(rewards, nan=-torch.inf).amax(dim=(1, 2)) / (1 - gamma)
    return torch.clamp(value, low[:, None], high[:, None]) * truncated


def baseline_values(rollout: Rollout, gamma: float, tail: torch.Tensor) -> torch.Tensor:
    """Value of every state by the linear-feature baseline, fitted to these very episodes, shape ``(tasks, E, T)``.

    Args:
        rollout: The episodes.
        gamma: Discount factor.
        tail: Value of the final states, shape ``(tasks, E)``.
    """
    mask = rollout.mask.double()
    targets = bootstrapped_returns(rollout, gamma, tail) * mask
    states, _ = _state_features(rollout)
    features = torch.cat([states, _time_features(mask)], dim=-1) * mask[..., None]
    weights = _solve(_gram(features, features), torch.einsum("tesf,tes->tf", features, targets), mask)
    return torch.einsum("tesf,tf->tes", features, weights)


def bootstrapped_returns(rollout: Rollout, gamma: float, tail: torch.Tensor) -> torch.Tensor:
    """Discounted returns-to-go with ``tail``, the value of the final states, shape ``(tasks, E, T)``."""
    steps_left = discounted_sums(rollout.mask.double(), 1.0)
    return discounted_sums(rollout.rewards.double(), gamma) + gamma**steps_left * tail[:, :, None]


def discounted_sums(x: torch.Tensor, discount: float) -> torch.Tensor:
    """``y[t] = x[t] + discount · y[t + 1]`` along the last dimension."""
    sums = torch.empty_like(x)
    running = torch.zeros_like(x[..., 0])
    for t in range(x.shape[-1] - 1, -1, -1):
        running = x[..., t] + discount * running
        sums[..., t] = running
    return sums


def _value_weights(
    features: torch.Tensor, returns: torch.Tensor, final: torch.Tensor, discount: torch.Tensor
) -> torch.Tensor:
    """Weights w of a linear value that agrees with itself at the truncations: least-squares TD(1).

    Solves ``Φᵀ(Φ w − R − D Φ_end w) = 0``, where R are the returns up to the episode's end, Φ_end the features of the
    episode's final state (0 if it terminated) and D the discount from each step to there (Boyan 1999). Where all
    episodes terminate this is plain regression on the returns.

    Args:
        features: Features Φ, shape ``(tasks, E, T, F)``, 0 behind an episode's end.
        returns: Returns R, shape ``(tasks, E, T)``.
        final: Features Φ_end, shape ``(tasks, E, F)``.
        discount: Discounts D, shape ``(tasks, E, T)``.
    """
    end = discount[..., None] * final[:, :, None, :]
    matrix = _gram(features, features) - _gram(features, end)
    return _solve(matrix, torch.einsum("tesf,tes->tf", features, returns), (discount > 0).double())


def _state_features(rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised observations, squares and 1: of steps ``(tasks, E, T, F)`` and of final states ``(tasks, E, F)``."""
    mask = rollout.mask.double()[..., None]
    observations = rollout.observations.double()
    count = mask.sum(dim=(1, 2), keepdim=True)
    mean = (observations * mask).sum(dim=(1, 2), keepdim=True) / count
    std = (((observations - mean) ** 2 * mask).sum(dim=(1, 2), keepdim=True) / count).sqrt()
    std = torch.where(std > 1e-8, std, torch.ones_like(std))

    def expand(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x**2, torch.ones_like(x[..., :1])], dim=-1)

    final = (rollout.final_observations.double() - mean[:, :, 0]) / std[:, :, 0]
    return expand((observations - mean) / std), expand(final)


def _time_features(mask: torch.Tensor) -> torch.Tensor:
    """Powers 1 to 3 of the fraction of the horizon, in [0, 1], shape ``(tasks, E, T, 3)``."""
    horizon = mask.shape[2]
    fraction = torch.arange(horizon, dtype=mask.dtype, device=mask.device) / horizon
    return torch.stack([fraction, fraction**2, fraction**3], dim=-1).expand(*mask.shape, 3)


def _gram(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.bmm(left.flatten(1, 2).transpose(1, 2), right.flatten(1, 2))


def _solve(matrix: torch.Tensor, right_side: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    ridge = (
        RIDGE
        * mask.sum(dim=(1, 2))[:, None, None]
        * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    )
    solution: torch.Tensor = torch.linalg.lstsq(matrix + ridge, right_side[..., None]).solution
    return solution[..., 0]


def _normalise(advantage: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    count = mask.sum(dim=(1, 2), keepdim=True)
    mean = (advantage * mask).sum(dim=(1, 2), keepdim=True) / count
    centred = (advantage - mean) * mask
    std = ((centred**2).sum(dim=(1, 2), keepdim=True) / count).sqrt()
    return centred / (std + 1e-8)
