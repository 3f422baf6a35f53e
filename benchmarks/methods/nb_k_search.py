"""`nb-k-search`: k-gates per layer; only k adapts, by `search_k`."""

from benchmarks.methods.kinds.few_episodes import SearchMethod
from nb_evaluation.method import Style

METHOD = SearchMethod(
    summary="k-gates per layer; only k adapts, by search_k, which tries the best again",
    row=51,
    style=Style("#0072B2", ":", "$3$"),
    pretrains_as="nb",
)
