"""A conditioned policy in one context: a plain k-gated policy, whose k-set is that of the context."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from nb_agents.inference.conditioned import conditioned_nets


def without_part(space: spaces.Space[Any], name: str) -> spaces.Space[Any]:
    """The space of observations without one of their parts."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: part for key, part in space.spaces.items() if key != name})
    assert isinstance(space, spaces.Box)
    part: slice = space.parts[name]  # type: ignore[attr-defined]
    kept = np.delete(np.arange(space.shape[0]), part)
    return spaces.Box(space.low[kept], space.high[kept], dtype=space.low.dtype.type)


@torch.no_grad()
def state_at(policy: torch.nn.Module, new: torch.nn.Module, context: NDArray[np.float32]) -> dict[str, Any]:
    """The state of a plain k-gated policy that acts as a conditioned one does in a context.

    Layers that read the context have its share added to their biases.

    Args:
        policy: The conditioned policy.
        new: The plain one, which sees the observations without the context.
        context: What f sees, shape ``(len(given),)``; see `nb_agents.inference.context.context_numbers`.

    Raises:
        ValueError: If what reads the context is no linear layer with a bias.
    """
    nets = list(conditioned_nets(policy))
    net = nets[0]
    values = torch.as_tensor(context, dtype=torch.float32, device=net.main.device)
    old, state = policy.state_dict(), new.state_dict()
    for each in nets:
        k, start = each.k_sets(values[None])[0], 0
        for gate in each.gates:
            name = next(name for name, module in policy.named_modules() if module is gate)
            old[f"{name}.k"] = k[start : start + len(gate.k)]
            start += len(gate.k)
    for name, wanted in state.items():
        if old[name].shape != wanted.shape:
            read_without(old, name, wanted.shape, net.given, values)
    return {name: old[name] for name in state}


def read_without(old: dict[str, Any], name: str, shape: torch.Size, given: torch.Tensor, values: torch.Tensor) -> None:
    """Let a layer do without some of its inputs, whose values are known."""
    weight, bias = old[name], f"{name.removesuffix('weight')}bias"
    if weight.dim() != 2 or weight.shape[1] - shape[1] != len(given) or bias not in old:
        raise ValueError(f"what reads the context must be a linear layer with a bias, and {name} is of none")
    old[bias] = old[bias] + weight[:, given] @ values
    old[name] = weight[:, [i for i in range(weight.shape[1]) if i not in set(given.tolist())]]
