"""k-gated policies for Stable-Baselines3, as plugins: SB3 builds the networks, the mixin puts gates into them."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import CnnPolicy as DQNCnnPolicy
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.dqn.policies import MultiInputPolicy as DQNMultiInputPolicy
from stable_baselines3.sac.policies import CnnPolicy as SACCnnPolicy
from stable_baselines3.sac.policies import MultiInputPolicy as SACMultiInputPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import CnnPolicy as TD3CnnPolicy
from stable_baselines3.td3.policies import MultiInputPolicy as TD3MultiInputPolicy
from stable_baselines3.td3.policies import TD3Policy

from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.parts import gated_part
from nb_agents.policies.placing import gate_called
from nb_agents.policies.usage import offer


class ActorCriticGates(KGatedMixin):
    """Gates for policies with SB3's `MlpExtractor`: PPO, A2C, and sb3-contrib's on-policy algorithms."""

    critic_parts = ("critic", "lstm_critic", "mlp_extractor.value_net", "value_net", "vf_features_extractor")
    head_part = "action_net"

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()  # type: ignore[misc]
        self._gate(self.pi_features_extractor, gate_last=True)  # type: ignore[attr-defined]
        self._gate_latent("forward_actor")
        if self.gate_critic:
            self._gate(self.vf_features_extractor, gate_last=True)  # type: ignore[attr-defined]
            self._gate_latent("forward_critic")
        self._condition(self.mlp_extractor, "policy_net", self.pi_features_extractor)  # type: ignore[attr-defined]

    def _gate_latent(self, method: str) -> None:
        """Gate the hidden layers of the MLP extractor, SB3's or the user's, that one of its two methods leads to."""
        policy: Any = self  # the mixin does not know SB3's attributes
        extractor, width = policy.mlp_extractor, getattr(policy, "lstm_output_dim", policy.features_dim)
        features = torch.zeros((2, width), device=next((p.device for p in extractor.parameters()), None))
        gate_called(
            extractor,
            lambda: getattr(extractor, method)(features),
            apart_from=None if self.gate_critic else lambda: extractor.forward_critic(features),
            activations=self._activations(),
            **self._gate_kwargs,
        )


class ActorAndCriticsGates(KGatedMixin):
    """Gates for policies with an actor and Q-networks: SAC, TD3, DDPG, and sb3-contrib's TQC and CrossQ.

    Target networks get the gates of the networks they follow.
    """

    critic_parts = ("critic",)
    head_part = "actor.mu"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """SB3's actor with its hidden layers gated, those of its features extractor included."""
        actor = super().make_actor(features_extractor)  # type: ignore[misc]
        self._gate(actor.features_extractor, gate_last=True)
        # SAC's ends in `latent_pi`, before its output layers; TD3's `mu` holds output layer and squashing as well.
        layers, hidden = ("latent_pi", True) if hasattr(actor, "latent_pi") else ("mu", False)
        self._gate(getattr(actor, layers), gate_last=hidden)
        self._condition(actor, layers, actor.features_extractor)
        return gated_part(actor)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """SB3's critic; its features extractor is gated where it is the actor's too, its Q-networks on demand."""
        critic = super().make_critic(features_extractor)  # type: ignore[misc]
        if self.gate_critic or self.share_features_extractor:  # type: ignore[attr-defined]
            self._gate(critic.features_extractor, gate_last=True)
        if self.gate_critic:
            for q_network in critic.q_networks:
                self._gate(q_network, gate_last=False)
        return gated_part(critic)


class KGatedPolicy(ActorCriticGates, ActorCriticPolicy):
    """k-gated actor-critic policy for PPO and A2C: ``PPO(KGatedPolicy, env, policy_kwargs={"block_size": None})``.

    Takes `KGatedMixin`'s arguments and all of SB3's `ActorCriticPolicy`. The hidden layers of the actor are gated,
    those of a features extractor that the actor uses included.
    """


class KGatedCnnPolicy(ActorCriticGates, ActorCriticCnnPolicy):
    """`KGatedPolicy` for images: convolutions are gated per channel, blocks being neighbouring channels."""


class KGatedMultiInputPolicy(ActorCriticGates, MultiInputActorCriticPolicy):
    """`KGatedPolicy` for dictionary observations."""


class KGatedSACPolicy(ActorAndCriticsGates, SACPolicy):
    """k-gated policy for SAC."""


class KGatedSACCnnPolicy(ActorAndCriticsGates, SACCnnPolicy):
    """`KGatedSACPolicy` for images."""


class KGatedSACMultiInputPolicy(ActorAndCriticsGates, SACMultiInputPolicy):
    """`KGatedSACPolicy` for dictionary observations."""


class KGatedTD3Policy(ActorAndCriticsGates, TD3Policy):
    """k-gated policy for TD3 and DDPG."""


class KGatedTD3CnnPolicy(ActorAndCriticsGates, TD3CnnPolicy):
    """`KGatedTD3Policy` for images."""


class KGatedTD3MultiInputPolicy(ActorAndCriticsGates, TD3MultiInputPolicy):
    """`KGatedTD3Policy` for dictionary observations."""


class QNetworkGates(KGatedMixin):
    """Gates for DQN: its Q-network is the policy, so it and its target are gated whatever ``gate_critic`` says."""

    head_part = "q_net.q_net"

    def make_q_net(self) -> QNetwork:
        """SB3's Q-network with its hidden layers gated."""
        return self._gate_values(super().make_q_net(), "q_net")  # type: ignore[misc,no-any-return]


class KGatedDQNPolicy(QNetworkGates, DQNPolicy):
    """k-gated policy for DQN."""


class KGatedDQNCnnPolicy(QNetworkGates, DQNCnnPolicy):
    """`KGatedDQNPolicy` for images."""


class KGatedDQNMultiInputPolicy(QNetworkGates, DQNMultiInputPolicy):
    """`KGatedDQNPolicy` for dictionary observations."""


offer(ActorCriticPolicy, (PPO, A2C), KGatedPolicy, KGatedCnnPolicy, KGatedMultiInputPolicy)
offer(SACPolicy, (SAC,), KGatedSACPolicy, KGatedSACCnnPolicy, KGatedSACMultiInputPolicy)
offer(TD3Policy, (TD3, DDPG), KGatedTD3Policy, KGatedTD3CnnPolicy, KGatedTD3MultiInputPolicy)
offer(DQNPolicy, (DQN,), KGatedDQNPolicy, KGatedDQNCnnPolicy, KGatedDQNMultiInputPolicy)
