"""`nb`: k-gates per layer; everything adapts."""

from benchmarks.methods.kinds.base import GATES_ALL
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="k-gates per layer; everything adapts",
    row=10,
    style=Style("#56B4E9", "--", "v"),
    panel=GATES_ALL,
    gated=True,
)
