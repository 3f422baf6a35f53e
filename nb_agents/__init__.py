"""k-gated policies for Stable-Baselines3: move a trained policy to other dynamics by changing a few numbers."""

from nb_agents.callbacks import KGateCallback
from nb_agents.gates import KGate
from nb_agents.k_target import KTarget
from nb_agents.policies import KGatedMixin, KGatedPolicy
from nb_agents.vec_env import VectorEnvAdapter

__all__ = ["KGate", "KGateCallback", "KGatedMixin", "KGatedPolicy", "KTarget", "VectorEnvAdapter"]
