"""`nb-pro-gate-critic`: nb-pro with gates in the critic as well."""

from benchmarks.methods.kinds.ablation import OTHER_GATES, Variant
from nb_evaluation.method import Style

METHOD = Variant(
    summary="nb-pro with gates in the critic as well",
    row=200,
    style=Style("#CC79A7", ":", "x"),
    panel=OTHER_GATES,
    gates={"gate_critic": True},
)
