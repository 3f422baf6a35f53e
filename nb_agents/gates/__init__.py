"""What a gate is: the formula, its regulariser and its presets."""

from nb_agents.gates.clamped import ClampedKGate
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.gates.k_target import KTarget
from nb_agents.gates.presets import PAPER

__all__ = ["PAPER", "ClampedKGate", "KGate", "KTarget", "named_gates"]
