"""`nb-pro-no-clipping`: nb-pro without gradient clipping."""

from benchmarks.methods.kinds.ablation import TRAINED_OTHERWISE, Variant
from nb_evaluation.method import Style

METHOD = Variant(
    summary="nb-pro without gradient clipping",
    row=170,
    style=Style("#D55E00", "--", "4"),
    panel=TRAINED_OTHERWISE,
    clips=False,
    algos=("ppo",),
)
