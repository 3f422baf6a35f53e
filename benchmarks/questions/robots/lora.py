"""Low-rank adapters on the layers of an actor without gates, as `nb_agents` puts them on those of a gated one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nb_agents.adapters.lora import LoRA, adaptable_layers, put_lora
from nb_agents.policies.optim import two_rates

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
    actor = nn.ModuleDict({"hidden": policy.mlp_extractor.policy_net, "head": policy.action_net})
    put_lora(actor, adaptable_layers(actor), rank, alpha=2 * rank)
    policy.mlp_extractor.policy_net, policy.action_net = actor["hidden"], actor["head"]
    adapters = list(LoRA().parameters(actor).values())
    actor.requires_grad_(False)
    for parameter in adapters:
        parameter.requires_grad_(True)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    # Not fused, whose rounding is another one than that of the committed runs.
    plain = torch.optim.Adam(trained, lr=policy.optimizer.param_groups[0]["lr"], eps=1e-5, foreach=False)
    policy.optimizer = two_rates(plain, adapters, LR_RATIO)
    return sum(parameter.numel() for parameter in adapters)
