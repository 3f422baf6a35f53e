"""`nb-k-cma`: k-gates per layer; only k adapts, by CMA-ES."""

from benchmarks.methods.kinds.evolution import EvolutionMethod
from nb_evaluation.method import Style

METHOD = EvolutionMethod(
    summary="k-gates per layer; only k adapts, by CMA-ES",
    row=50,
    style=Style("#D55E00", "-", "$2$"),
    pretrains_as="nb",
)
