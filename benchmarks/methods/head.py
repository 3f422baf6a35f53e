"""`head`: SB3's MlpPolicy; only the last layer adapts."""

from benchmarks.methods.kinds.base import FEW_NUMBERS
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="SB3's MlpPolicy; only the last layer adapts",
    row=90,
    style=Style("#009E73", "-.", "P"),
    panel=FEW_NUMBERS,
    adapts="head",
    pretrains_as="fine-tune",
)
