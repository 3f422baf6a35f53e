"""`randomised`: MlpPolicy on contexts from source to target; nothing adapts."""

from benchmarks.methods.kinds.base import NO_GATES
from benchmarks.methods.kinds.gradient import RandomisedMethod
from nb_evaluation.method import DENSE, Style

METHOD = RandomisedMethod(
    summary="MlpPolicy on contexts from source to target; nothing adapts",
    row=110,
    style=Style("#CC79A7", DENSE, "d"),
    panel=NO_GATES,
)
