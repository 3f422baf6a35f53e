"""`nb-pro-ratio-1`: nb-pro with one learning rate for k and weights."""

from benchmarks.methods.kinds.ablation import TRAINED_OTHERWISE, Variant
from nb_evaluation.method import Style

METHOD = Variant(
    summary="nb-pro with one learning rate for k and weights",
    row=180,
    style=Style("#009E73", "-", "8"),
    panel=TRAINED_OTHERWISE,
    gates={"k_lr_ratio": 1.0},
)
