"""A conditioned policy in one context: a plain k-gated policy, whose k-set is that of the context."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike

from nb_agents.inference.conditioned import conditioned_nets


def without_part(space: spaces.Space[Any], name: str) -> spaces.Space[Any]:
    """The space of observations without one of their parts; of a dictionary with two that of the other one."""
    if isinstance(space, spaces.Dict):
        rest = {key: part for key, part in space.spaces.items() if key != name}
        return next(iter(rest.values())) if len(rest) == 1 else spaces.Dict(rest)
    assert isinstance(space, spaces.Box)
    part: slice = space.parts[name]  # type: ignore[attr-defined]
    kept = np.delete(np.arange(space.shape[0]), part)
    return spaces.Box(space.low[kept], space.high[kept], dtype=space.low.dtype.type)


def state_of(policy: Any, new: Any) -> dict[str, Any]:
    """The state of a policy, named as in ``new``, which may see the one entry left of a dictionary by itself."""
    state: dict[str, Any] = policy.state_dict()
    if not isinstance(policy.observation_space, spaces.Dict) or isinstance(new.observation_space, spaces.Dict):
        return state
    (key,) = policy.observation_space.spaces.keys() - {policy.k_from}
    return {name.replace(f".extractors.{key}.", "."): value for name, value in state.items()}


@torch.no_grad()
def state_at(policy: torch.nn.Module, new: torch.nn.Module, context: ArrayLike) -> dict[str, Any]:
    """The state of a plain k-gated policy that acts as a conditioned one does in a context.

    Layers that read the context have its share added to their biases.

    Args:
        policy: The conditioned policy.
        new: The plain one, which sees the observations without the context.
        context: What f sees, shape ``(len(given),)``.

    Raises:
        ValueError: If the context has another shape or is not finite, or what reads it is no linear layer with a bias.
    """
    nets = list(conditioned_nets(policy))
    net = nets[0]
    values = torch.as_tensor(np.asarray(context), dtype=torch.float32, device=net.main.device)
    if values.shape != net.given.shape or not torch.isfinite(values).all():
        raise ValueError(f"context must be {len(net.given)} finite numbers, as they are observed, got {context!r}")
    old, state = state_of(policy, new), new.state_dict()
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
