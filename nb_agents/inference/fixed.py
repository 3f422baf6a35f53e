"""A conditioned policy in one context: a plain k-gated policy, whose k-set is that of the context."""

from __future__ import annotations

import copy
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import nn

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
    old, state = state_of(policy, new), new.state_dict()
    for each in nets:
        k, start = each.k_sets(values[None])[0], 0
        for gate in each.gates:
            name = next(name for name, module in policy.named_modules() if module is gate)
            old[f"{name}.k"] = k[start : start + len(gate.k)]
            start += len(gate.k)
    for name, wanted in state.items():
        if old[name].shape != wanted.shape:
            read_without(policy, old, name, wanted.shape, net.given, values)
    return {name: old[name] for name in state}


def read_without(
    policy: Any, old: dict[str, Any], name: str, shape: torch.Size, given: torch.Tensor, values: torch.Tensor
) -> None:
    """Let a layer do without some of its inputs, whose values are known.

    A linear layer has their share added to its bias; a normalization in front of one, as CrossQ's, normalizes the rest.

    Args:
        policy: The policy that ``old`` is of.
        old: State, changed in place.
        name: Name of a parameter or buffer of the layer.
        shape: Shape that it is to have.
        given: Indices of the inputs.
        values: Their values.

    Raises:
        ValueError: If the layer is another one.
    """
    path, tensor, bias = name.rpartition(".")[0], old[name], f"{name.removesuffix('weight')}bias"
    wide, kept = tensor.shape[-1], [i for i in range(tensor.shape[-1]) if i not in set(given.tolist())]
    if len(kept) != shape[-1] or (tensor.dim() != 1 and (tensor.dim() != 2 or bias not in old)):
        raise ValueError(f"what reads the context must be a linear layer with a bias, and {name} is of none")
    if tensor.dim() == 2:
        shown = tensor.new_zeros(1, wide).index_copy_(1, given, values[None].to(tensor.dtype))
        parent = policy.get_submodule(path.rpartition(".")[0])
        before = takewhile(lambda each: each is not policy.get_submodule(path), parent.children())
        for layer in before if isinstance(parent, nn.Sequential) else ():
            shown = copy.deepcopy(layer).eval()(shown)
        old[bias] = old[bias] + tensor[:, given] @ shown[0, given]
    old[name] = tensor[..., kept]
