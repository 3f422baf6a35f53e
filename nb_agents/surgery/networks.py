"""All networks of an SB3 policy as one module that can be traced, so that its gates can be folded."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim, preprocess_obs
from torch import nn

from nb_agents.gates.gate import named_gates
from nb_agents.surgery.absorbing import absorb
from nb_agents.surgery.paths import trace_all
from nb_agents.surgery.tracing import ScaleSink, TraceError
from nb_agents.surgery.weights import FoldError


def absorb_in_policy(policy: BasePolicy, *, inverse: bool = False) -> None:
    """Multiply all gates of an SB3 policy, target networks' included, into its weights in place.

    Args:
        policy: Any policy of SB3 and sb3-contrib with k-gates.
        inverse: Whether to divide instead, which makes gates neutral that have just been put in.

    Raises:
        FoldError: If a gate cannot be folded or a network cannot be traced; no weight has changed then.
    """
    gates = {f"policy.{name}": gate for name, gate in named_gates(policy)}
    try:
        networks = _Networks(policy)
        absorb(networks, trace_all(networks, example_inputs=_example(policy)), gates, inverse=inverse)
    except (TraceError, FoldError) as error:
        raise FoldError(str(error).replace("'policy.", "'")) from error


def _example(policy: Any) -> tuple[Any, ...]:
    """Preprocessed all-zero observations, actions and recurrent states, batches of one."""
    space = policy.observation_space
    if isinstance(space, spaces.Dict):
        zeros: Any = {key: np.zeros((1, *(part.shape or ())), part.dtype) for key, part in space.spaces.items()}
    else:
        zeros = np.zeros((1, *space.shape), space.dtype)
    tensors, _ = policy.obs_to_tensor(zeros)
    obs = preprocess_obs(tensors, space, normalize_images=policy.normalize_images)
    actions = torch.zeros((1, get_action_dim(policy.action_space)), device=policy.device)
    return obs, actions, torch.zeros((1, getattr(policy, "lstm_output_dim", 1)), device=policy.device)


class _Networks(nn.Module):
    """Every network of a policy in one forward: no preprocessing, no distributions, no recurrence."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy
        actor = getattr(policy, "actor", policy)
        uses_sde = isinstance(getattr(actor, "action_dist", None), StateDependentNoiseDistribution)
        self.explore = ScaleSink(partial(_scale_exploration, actor)) if uses_sde else nn.Identity()

    def forward(self, obs: Any, actions: torch.Tensor, recurrent: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of all networks.

        Args:
            obs: Preprocessed observations.
            actions: Actions, shape ``(batch, action_dim)``.
            recurrent: Stand-in for the output of an LSTM, shape ``(batch, lstm_output_dim)``.
        """
        policy = self.policy
        outputs = []
        if hasattr(policy, "mlp_extractor"):
            outputs += self._actor_critic(obs, recurrent)
        for name in ("actor", "actor_target"):
            if (actor := getattr(policy, name, None)) is not None:
                outputs += self._actor(actor, obs)
        for name in ("critic", "critic_target"):
            critic: Any = getattr(policy, name, None)
            if hasattr(critic, "q_networks"):
                values = torch.cat([critic.features_extractor(obs), actions], dim=1)
                outputs += [q_network(values) for q_network in critic.q_networks]
        for name in ("q_net", "quantile_net"):
            for network in (getattr(policy, name, None), getattr(policy, f"{name}_target", None)):
                if network is not None:
                    outputs.append(getattr(network, name)(network.features_extractor(obs)))
        if not outputs:  # ARS
            outputs.append(policy.action_net(policy.features_extractor(obs)))
        return outputs

    def _actor_critic(self, obs: Any, recurrent: torch.Tensor) -> list[torch.Tensor]:
        policy = self.policy
        features_pi, features_vf = policy.pi_features_extractor(obs), policy.vf_features_extractor(obs)
        if hasattr(policy, "lstm_actor"):
            policy.lstm_actor(features_pi)
            features_pi = recurrent
            if policy.lstm_critic is not None:
                policy.lstm_critic(features_vf)
            keeps_features = policy.critic is not None
            features_vf = policy.critic(features_vf) if keeps_features else recurrent
        latent_pi = self.explore(policy.mlp_extractor.forward_actor(features_pi))
        latent_vf = policy.mlp_extractor.forward_critic(features_vf)
        return [policy.action_net(latent_pi), policy.value_net(latent_vf)]

    def _actor(self, actor: Any, obs: Any) -> list[torch.Tensor]:
        features = actor.features_extractor(obs)
        if not hasattr(actor, "latent_pi"):
            return [actor.mu(features)]
        latent_pi = self.explore(actor.latent_pi(features))
        log_std = [] if isinstance(self.explore, ScaleSink) else [actor.log_std(latent_pi)]
        return [actor.mu(latent_pi), *log_std]


def _scale_exploration(actor: Any, factor: torch.Tensor) -> None:
    """Multiply gSDE's noise by the size of a factor for each unit of the latent, shape ``(n_units,)``.

    The noise is ``latent @ E`` with E ~ N(0, std²), so a factor on a unit of the latent is one on its row of std, here
    multiplied through what parametrizes it.
    """
    factor, log_std, distribution = factor.abs(), actor.log_std, actor.action_dist
    if not distribution.use_expln:
        log_std.add_(factor.log()[:, None])
        return
    # get_std: exp(x) up to x = 0, 1 + log(1 + x + ε) above; all columns are alike where there is one for all.
    std = distribution.get_std(log_std)[:, : log_std.shape[1]] * factor[:, None]
    above = (std - 1).expm1() - distribution.epsilon
    log_std.copy_(torch.where(above > 0, above, std.log()))
