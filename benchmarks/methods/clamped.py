"""Gates of at most 1 in an SB3 policy, for the ablation."""

from __future__ import annotations

from nb_agents import KGatedPolicy
from nb_agents.gates.gate import named_gates
from nb_agents.recipe.policy import ClampedKGate


class ClampedKGatedPolicy(KGatedPolicy):
    """`KGatedPolicy` whose gates are clamped at 1, as in the paper's released code."""

    def _finish_networks(self) -> None:
        super()._finish_networks()
        for _, gate in named_gates(self):
            gate.__class__ = ClampedKGate  # it adds no state, only its formula differs
