"""`nb-pro-k-cma`: k-gates per layer and block; only k adapts, by CMA-ES."""

from benchmarks.methods.kinds.evolution import EvolutionMethod
from nb_evaluation.method import Style

METHOD = EvolutionMethod(
    summary="k-gates per layer and block; only k adapts, by CMA-ES",
    row=60,
    style=Style("#CC79A7", ":", "$10$"),
    block_size=16,
    population=6,
    pretrains_as="nb-pro",
)
