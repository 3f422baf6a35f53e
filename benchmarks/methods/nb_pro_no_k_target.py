"""`nb-pro-no-k-target`: nb-pro without the k-target loss."""

from benchmarks.methods.kinds.ablation import TRAINED_OTHERWISE, Variant
from nb_evaluation.method import Style

METHOD = Variant(
    summary="nb-pro without the k-target loss",
    row=160,
    style=Style("#56B4E9", "-", "3"),
    panel=TRAINED_OTHERWISE,
    gates={"k_target_weight": 0.0},
)
