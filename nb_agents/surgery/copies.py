"""Copies of networks, and the values that they keep beside their parameters."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def copy_of(module: Module) -> Module:
    """A deep copy; tensors with a history, which cannot be copied, are copied without it."""
    shared: dict[int, Any] = {}
    for identity, (_, tensor) in kept_values(module, torch.Tensor).items():
        if not tensor.is_leaf:
            shared[identity] = tensor.detach().clone()
    for part in module.modules():
        if hasattr(part, "action_dist"):  # gSDE's holds sampled tensors with a gradient, and has no parameters
            shared[id(part.action_dist)] = part.action_dist
    twin = copy.deepcopy(module, shared)
    for part in twin.modules():
        if isinstance(part, nn.RNNBase):  # a copy's weights are no single block, of which cuDNN warns at every call
            part.flatten_parameters()
    return twin


def kept_values(root: nn.Module, kind: type[Any]) -> dict[int, tuple[str, Any]]:
    """All of that kind that modules of ``root`` keep as plain attributes, in containers too, by ``id``, with a name."""
    found: dict[int, tuple[str, Any]] = {}

    def visit(name: str, value: Any, depth: int) -> None:
        if isinstance(value, kind):
            found[id(value)] = name, value
        elif depth < 4 and isinstance(value, (list, tuple, set, dict)):
            for item in value.values() if isinstance(value, dict) else value:
                visit(name, item, depth + 1)

    for path, module in root.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_modules") and not isinstance(value, nn.Module):
                visit(f"{path}.{name}".lstrip("."), value, 0)
    return found
