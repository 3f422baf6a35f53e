"""`lora-1`: SB3's MlpPolicy; only low-rank adapters of rank 1 on the actor's layers adapt."""

from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import DENSE, Style

METHOD = GradientMethod(
    summary="SB3's MlpPolicy; only LoRA of rank 1 on the actor's layers adapts",
    row=95,
    style=Style("#882255", DENSE, "$L$"),
    panel="low-rank adapters",
    compared=False,
    lora_rank=1,
    adapts="lora",
    pretrains_as="fine-tune",
)
