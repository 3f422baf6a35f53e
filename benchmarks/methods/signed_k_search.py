"""`signed-k-search`: signed gates per layer; only k adapts, by `search_k`."""

from benchmarks.methods.kinds.few_episodes import SearchMethod
from nb_evaluation.method import Style

METHOD = SearchMethod(
    summary="signed gates per layer; only k adapts, by search_k",
    row=53,
    style=Style("#0072B2", "-.", "2"),
    panel="signed gates",
    signed=True,
    pretrains_as="signed-k",
)
