"""Low-rank adapters on an actor's layers, by the `peft` package."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

LR_RATIO = 5.0
"""Learning rate of the adapters over that of the critic's weights, as that of the k's."""


def add_lora(policy: Any, rank: int) -> int:
    """Put adapters on the actor's linear layers, and train them in place of the actor's weights.

    The layers' own weights stand still; the critic trains, as it does with every method. The new policy computes what
    the old one did, for an adapter begins as zero.

    Args:
        policy: `ActorCriticPolicy` of SB3, without a network shared with the critic.
        rank: Rank of the adapters, at least 1.

    Returns:
        How many numbers the adapters hold.

    Raises:
        ImportError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError('LoRA needs the package peft: run `pip install "neural-battery[lora]"`') from error

    actor = nn.ModuleDict({"hidden": policy.mlp_extractor.policy_net, "head": policy.action_net})
    names = [name for name, module in actor.named_modules() if isinstance(module, nn.Linear)]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names)
    inject_adapter_in_model(config, actor)  # in place, and it freezes what is no adapter
    policy.mlp_extractor.policy_net, policy.action_net = actor["hidden"], actor["head"]
    adapters = [parameter for parameter in actor.parameters() if parameter.requires_grad]
    others = [p for name, p in policy.named_parameters() if p.requires_grad and ".lora_" not in name]
    made: Any = _Rated([{"params": others}, {"params": adapters}], lr=policy.optimizer.param_groups[0]["lr"], eps=1e-5)
    policy.optimizer = made
    return sum(parameter.numel() for parameter in adapters)


class _Rated(torch.optim.Adam):
    """Adam whose second group is stepped with `LR_RATIO` times its rate, which SB3 writes into all groups alike."""

    def step(self, closure: Any = None) -> Any:
        """See `torch.optim.Optimizer.step`."""
        group = self.param_groups[1]
        rate = group["lr"]
        group["lr"] = LR_RATIO * rate
        try:
            return super().step(closure)
        finally:
            group["lr"] = rate


def merge_lora(policy: Any) -> None:
    """Add the adapters to the weights, and leave plain layers behind."""
    for owner in (policy, policy.mlp_extractor.policy_net):
        for name, layer in list(owner.named_children()):
            if hasattr(layer, "lora_A"):
                layer.merge()
                setattr(owner, name, layer.get_base_layer())
