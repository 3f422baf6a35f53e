"""Meta-learning of SB3 policies: MAML and its relatives, used like any SB3 algorithm."""

from nb_agents.maml.algorithm import MAML
from nb_agents.maml.tasks import Environments
from nb_agents.maml.updates.ppo_clip import PPOClipUpdate
from nb_agents.maml.updates.reptile import ReptileUpdate
from nb_agents.maml.updates.trpo import TRPOUpdate
from nb_agents.maml.variants import ANIL, FOMAML, JointTraining, MetaSGD, ProMP, Reptile

__all__ = [
    "ANIL", "FOMAML", "MAML", "Environments", "JointTraining", "MetaSGD", "PPOClipUpdate", "ProMP", "Reptile",
    "ReptileUpdate", "TRPOUpdate",
]  # fmt: skip
