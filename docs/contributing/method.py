"""`last-two`: all but the first layer adapt. This file in `benchmarks/methods/` is all that adding the method takes."""

from dataclasses import dataclass

from benchmarks.methods.kinds.base import FEW_NUMBERS
from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style


@dataclass(frozen=True, kw_only=True)
class LastTwo(GradientMethod):
    """Fine-tuning with the first layer held."""

    def begin_transfer(self, spec, pretrained, recorder):
        """Move to the target as fine-tuning does, and hold the actor's first layer."""
        model = super().begin_transfer(spec, pretrained, recorder)
        model.policy.mlp_extractor.policy_net[0].requires_grad_(False)
        return model


METHOD = LastTwo(
    summary="SB3's MlpPolicy; all but the first layer adapt",
    row=95,  # its place in the tables, between `head` and `scratch`
    style=Style("#56B4E9", "-.", "$L$"),
    panel=FEW_NUMBERS,
    pretrains_as="fine-tune",  # so the two share their pretraining
    algos=("ppo",),
)
