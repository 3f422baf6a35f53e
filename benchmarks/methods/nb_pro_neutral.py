"""`nb-pro-neutral`: nb-pro whose gates change nothing at the start."""

from benchmarks.methods.kinds.ablation import OTHER_GATES, Variant
from nb_evaluation.method import Style

METHOD = Variant(
    summary="nb-pro whose gates change nothing at the start",
    row=190,
    style=Style("#E69F00", "--", "H"),
    panel=OTHER_GATES,
    neutral=True,
)
