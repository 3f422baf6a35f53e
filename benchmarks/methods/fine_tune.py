"""`fine-tune`: SB3's MlpPolicy; everything adapts."""

from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import REFERENCE_PANEL, Style

METHOD = GradientMethod(
    summary="SB3's MlpPolicy; everything adapts",
    row=70,
    style=Style("#000000", "-", "o"),
    panel=REFERENCE_PANEL,
)
