"""Policies whose k-sets can be an input of what is exported."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.inference.conditioned import conditioned_nets


def check_k_input(policy: BasePolicy) -> None:
    """Refuse a policy that takes no k-sets.

    Raises:
        ValueError: If it has no gates, computes their k's, or has gates of a kind whose formulas for many k-sets,
            `KGate.rows` and `KGate.shifts`, cannot be traced or are not its formulas for one.
    """
    refused = "k must be 'folded' for {}; got 'input'"
    if not any(named_gates(policy)):
        raise ValueError(refused.format("a policy without k-gates"))
    if any(conditioned_nets(policy)):
        computed = "a policy that computes its k's from the observation, unless it is taken `at` a context"
        raise ValueError(refused.format(computed))
    for _, gate in named_gates(policy):
        kind = f"gates of the kind {type(gate).__name__}, whose"
        if _is_mapped(gate, "gate", "rows") or _is_mapped(gate, "shift", "shifts"):
            raise ValueError(refused.format(f"{kind} `gate` or `shift` is its own, but not `rows` and `shifts`"))
        k = torch.stack([gate.k, gate.k.roll(1) - 0.5, torch.zeros_like(gate.k)]).detach()
        with torch.no_grad():
            if not (_agree(gate.rows(k), gate.gate, k) and _agree(gate.shifts(k), gate.shift, k)):
                raise ValueError(refused.format(f"{kind} `rows` and `shifts` differ from its `gate` and `shift`"))


def _is_mapped(gate: KGate, one: str, many: str) -> bool:
    """Whether the formula for many k-sets is `torch.func.vmap` of that for one, through which an export cannot see."""
    own_one, own_many = (getattr(type(gate), name) is not getattr(KGate, name) for name in (one, many))
    return own_one and not own_many


def _agree(many: torch.Tensor | None, one: Any, k: torch.Tensor) -> bool:
    each = [one(k_set) for k_set in k]
    if many is None or each[0] is None:
        return many is each[0]
    return torch.allclose(many, torch.stack(each), rtol=1e-4, atol=1e-5)
