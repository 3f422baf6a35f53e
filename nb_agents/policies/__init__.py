"""Policies of SB3 with gates: how they are built, trained, saved, and what of them adapts."""

from nb_agents.policies.sb3 import (
    ActorAndCriticsGates,
    ActorCriticGates,
    KGatedCnnPolicy,
    KGatedDQNCnnPolicy,
    KGatedDQNMultiInputPolicy,
    KGatedDQNPolicy,
    KGatedMixin,
    KGatedMultiInputPolicy,
    KGatedPolicy,
    KGatedSACCnnPolicy,
    KGatedSACMultiInputPolicy,
    KGatedSACPolicy,
    KGatedTD3CnnPolicy,
    KGatedTD3MultiInputPolicy,
    KGatedTD3Policy,
    QNetworkGates,
)

__all__ = [
    "ActorAndCriticsGates",
    "ActorCriticGates",
    "KGatedCnnPolicy",
    "KGatedDQNCnnPolicy",
    "KGatedDQNMultiInputPolicy",
    "KGatedDQNPolicy",
    "KGatedMixin",
    "KGatedMultiInputPolicy",
    "KGatedPolicy",
    "KGatedSACCnnPolicy",
    "KGatedSACMultiInputPolicy",
    "KGatedSACPolicy",
    "KGatedTD3CnnPolicy",
    "KGatedTD3MultiInputPolicy",
    "KGatedTD3Policy",
    "QNetworkGates",
]
