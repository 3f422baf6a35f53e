"""`last-k-cma`: the control of one number: the last layer's signed gate, a factor of the actions."""

from benchmarks.methods.kinds.evolution import EvolutionMethod
from nb_evaluation.method import Style

METHOD = EvolutionMethod(
    summary="signed gates per layer; only the last layer's k adapts, by CMA-ES",
    row=55,
    style=Style("#999999", ":", "|"),
    panel="signed gates",
    signed=True,
    last_alone=True,
    pretrains_as="signed-k",
)
