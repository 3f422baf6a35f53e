"""What a gate is: the formula, its regulariser and its presets."""

from nb_agents.gates.gate import KGate
from nb_agents.gates.k_target import KTarget
from nb_agents.gates.presets import PAPER

__all__ = ["PAPER", "KGate", "KTarget"]
