"""`nb-pro`: k-gates per layer and block; everything adapts."""

from benchmarks.methods.kinds.base import GATES_ALL
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="k-gates per layer and block; everything adapts",
    row=20,
    style=Style("#0072B2", "-", "^"),
    panel=GATES_ALL,
    gated=True,
    block_size=16,
)
