"""The forward pass of rollouts: hundreds of calls with the same parameters and a few observations each.

What such a call costs is mostly what happens around its matrix products: swapping parameters into modules, and vmap's
rules for each operation. Where the actor is a plain chain of layers, the stacked products can be called directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

_ELEMENTWISE = (nn.Tanh, nn.ReLU, nn.ELU, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Sigmoid, nn.Softplus, nn.Identity)


def shaped(policy: ActorCriticPolicy, observations: torch.Tensor) -> torch.Tensor:
    """Flat observations ``(batch, n_features)`` as SB3 gives them to the policy's features extractor."""
    space = policy.observation_space
    if isinstance(space, (spaces.Box, spaces.MultiBinary)) and len(space.shape) != 1:
        return observations.reshape(-1, *space.shape) if space.shape else observations.squeeze(-1)
    return observations


def acting_chain(
    policy: ActorCriticPolicy, stacked: Mapping[str, torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The actor's outputs as direct calls of its layers.

    Args:
        policy: The policy.
        stacked: Some or all of its actor's parameters by name, each with a leading dimension of tasks; the others are
            common to all tasks.

    Returns:
        From observations ``(tasks, batch, n_features)`` to outputs ``(tasks, batch, n_outputs)``, or None if the actor
        is more than features, linear layers and elementwise activations.
    """
    extractor, head = policy.mlp_extractor, policy.action_net
    if type(extractor) is not MlpExtractor or any(not name.startswith(("mlp", "action", "log")) for name in stacked):
        return None
    modules = {f"mlp_extractor.policy_net.{name}": layer for name, layer in extractor.policy_net.named_children()}
    layers: list[Callable[[torch.Tensor], torch.Tensor]] = []
    for path, module in (modules | {"action_net": head}).items():
        if module._forward_hooks or module._forward_pre_hooks:
            return None
        if type(module) is nn.Linear and module.bias is not None:
            layers.append(_linear(stacked, path, module))
        elif type(module) in _ELEMENTWISE:
            layers.append(module)
        else:
            return None
    log_std = None
    if isinstance(policy.action_dist, DiagGaussianDistribution):
        log_std = stacked.get("log_std", policy.log_std).reshape(-1, 1, policy.log_std.numel())

    def outputs(observations: torch.Tensor) -> torch.Tensor:
        x = policy.pi_features_extractor(shaped(policy, observations.flatten(0, 1)))
        x = x.unflatten(0, observations.shape[:2])
        for layer in layers:
            x = layer(x)
        return x if log_std is None else torch.cat([x, log_std.expand_as(x)], dim=-1)

    return outputs


def _linear(
    stacked: Mapping[str, torch.Tensor], path: str, module: nn.Linear
) -> Callable[[torch.Tensor], torch.Tensor]:
    tasks = len(next(iter(stacked.values())))
    weight = stacked.get(f"{path}.weight", module.weight.expand(tasks, -1, -1)).transpose(1, 2).contiguous()
    bias = stacked.get(f"{path}.bias", module.bias.expand(tasks, -1))[:, None]
    return lambda x: torch.baddbmm(bias, x, weight)
