"""`nb-pro-k`: k-gates per layer and block; only k adapts."""

from benchmarks.methods.kinds.base import FEW_NUMBERS
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="k-gates per layer and block; only k adapts",
    row=40,
    style=Style("#D55E00", "-", ">"),
    panel=FEW_NUMBERS,
    gated=True,
    block_size=16,
    adapts="gates",
    pretrains_as="nb-pro",
)
