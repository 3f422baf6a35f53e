"""`fine-tune-folded`: fine-tune from nb-pro's initial weights, gates folded away."""

from benchmarks.methods.kinds.base import NO_GATES
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="fine-tune from nb-pro's initial weights, gates folded away",
    row=80,
    style=Style("#E69F00", ":", "s"),
    panel=NO_GATES,
    folded=True,
    block_size=16,
)
