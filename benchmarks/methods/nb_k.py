"""`nb-k`: k-gates per layer; only k adapts."""

from benchmarks.methods.kinds.base import FEW_NUMBERS
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="k-gates per layer; only k adapts",
    row=30,
    style=Style("#CC79A7", "--", "<"),
    panel=FEW_NUMBERS,
    gated=True,
    adapts="gates",
    pretrains_as="nb",
)
