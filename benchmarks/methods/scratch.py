"""`scratch`: SB3's MlpPolicy, trained on the target alone."""

from benchmarks.methods.kinds.base import NO_GATES
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="SB3's MlpPolicy, trained on the target alone",
    row=100,
    style=Style("#009E73", "--", "X"),
    panel=NO_GATES,
    pretrains=False,
)
