"""`nb-pro-clamped`: nb-pro with gates of at most 1."""

from dataclasses import dataclass
from typing import Any

from benchmarks.methods.kinds.ablation import OTHER_GATES, Variant
from nb_evaluation.method import Style


@dataclass(frozen=True, kw_only=True)
class Clamped(Variant):
    """Gates of a kind of their own."""

    def gate_arguments(self) -> dict[str, Any]:
        """See `GradientMethod.gate_arguments`."""
        from nb_agents import ClampedKGate

        return super().gate_arguments() | {"gate_class": ClampedKGate}


METHOD = Clamped(
    summary="nb-pro with gates of at most 1",
    row=210,
    style=Style("#0072B2", "-.", "+"),
    panel=OTHER_GATES,
    algos=("ppo",),
)
