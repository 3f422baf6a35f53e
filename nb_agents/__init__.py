"""k-gated policies for Stable-Baselines3: move a trained policy to other dynamics by changing a few numbers."""

from nb_agents.battery import Battery, FingerprintError
from nb_agents.callbacks import KGateCallback
from nb_agents.gates import KGate
from nb_agents.k_target import KTarget
from nb_agents.policies import (
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
from nb_agents.vec_env import VectorEnvAdapter

__all__ = [
    "ActorAndCriticsGates",
    "ActorCriticGates",
    "Battery",
    "FingerprintError",
    "KGate",
    "KGateCallback",
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
    "KTarget",
    "QNetworkGates",
    "VectorEnvAdapter",
]
