"""Step sizes of the inner loop, 0 for those of the actor's parameters that do not adapt."""

from __future__ import annotations

import torch

from nb_agents.gates.gate import named_gates
from nb_agents.maml.actor import StackedActor

ADAPT = ("all", "head", "gates")


def inner_rates(actor: StackedActor, inner_lr: float, adapt: str) -> torch.Tensor:
    """The step size of each of the actor's parameters.

    Args:
        actor: The actor.
        inner_lr: Step size of those that adapt; the k's of a k-gated policy take its ``k_lr_ratio`` times as much.
        adapt: "all"; "head", the last linear layer and a Gaussian's log standard deviation; or "gates", the k's.

    Returns:
        Shape ``(n_params,)``, 0 for parameters that do not adapt.

    Raises:
        ValueError: If ``adapt`` is unknown, or the policy has nothing of the kind.
    """
    if adapt not in ADAPT:
        raise ValueError(f"adapt must be one of {list(ADAPT)}, got {adapt!r}")
    ratio = getattr(actor.policy, "k_lr_ratio", 1.0)
    ks = {f"{path}.k" for path, _ in named_gates(actor.policy)}
    rates = torch.zeros(actor.n_params, dtype=actor.dtype, device=actor.device)
    for name, part in actor.slices():
        is_head = name.startswith("action_net.") or name == "log_std"
        if adapt == "all" or (adapt == "head" and is_head) or (adapt == "gates" and name in ks):
            rates[part] = inner_lr * ratio if name in ks else inner_lr
    if not rates.any():
        raise ValueError(f"adapt={adapt!r} needs a policy that has {adapt}, got {type(actor.policy).__name__}")
    return rates
