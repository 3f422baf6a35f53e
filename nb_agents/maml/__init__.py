"""Meta-learning of SB3 policies: MAML and its relatives, used like any SB3 algorithm."""

from nb_agents.maml.algorithm import MAML
from nb_agents.maml.tasks import Environments
from nb_agents.maml.updates.ppo_clip import PPOClip
from nb_agents.maml.updates.reptile import ReptileStep
from nb_agents.maml.updates.trpo import TRPO
from nb_agents.maml.variants import ANIL, FOMAML, JointTraining, MetaSGD, ProMP, Reptile

__all__ = [
    "ANIL",
    "FOMAML",
    "MAML",
    "TRPO",
    "Environments",
    "JointTraining",
    "MetaSGD",
    "PPOClip",
    "ProMP",
    "Reptile",
    "ReptileStep",
]
