"""`signed-k`: signed gates per layer; only k adapts."""

from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="signed gates per layer; only k adapts",
    row=52,
    style=Style("#56B4E9", "-.", "1"),
    panel="signed gates",
    compared=False,
    gated=True,
    signed=True,
    adapts="gates",
)
