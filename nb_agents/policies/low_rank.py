"""Low-rank adapters in an SB3 policy: on the actor's layers, in target networks, and in the optimizers."""

from __future__ import annotations

from typing import Any

from torch import nn

from nb_agents._checks import check_count, check_positive
from nb_agents.adapters.acting import joined, target_networks
from nb_agents.adapters.lora import adaptable_layers, lora_layers, lora_parameters, peft_package, put_lora
from nb_agents.policies.optim import optimized_parts


def check_lora(rank: Any, alpha: Any, k_from: Any) -> tuple[int, float] | tuple[None, None]:
    """The rank and α of a policy's low-rank adapters, None for none; α is twice the rank unless it is given.

    Raises:
        ImportError: If there are to be some, and peft is not installed.
        TypeError: If α is no number.
        ValueError: If one is out of its range, α comes without a rank, or the policy computes its k's.
    """
    if rank is None:
        if alpha is not None:
            raise ValueError(f"lora_alpha must be None without lora_rank, got {alpha!r}")
        return None, None
    rank = check_count("lora_rank", rank)
    alpha = 2.0 * rank if alpha is None else check_positive("lora_alpha", alpha)
    if k_from is not None:
        raise ValueError(f"lora_rank must be None with k_from, whose f adapts the layers already, got {rank}")
    peft_package()
    return rank, alpha


def adapt_layers(policy: Any, rank: int, alpha: float) -> list[nn.Parameter]:
    """Put low-rank adapters on the actor's linear and convolutional layers, in place, and have them optimized.

    Layers of target networks get those of their source. Each optimizer that holds a layer's weight holds its adapter
    as well, in the same group. An LSTM is left as it is, for peft has no adapter for one.

    Args:
        policy: The policy, whose networks and optimizers stand.
        rank: Rank of the adapters.
        alpha: α of peft's ``lora_alpha``.

    Returns:
        The adapters' parameters, those of target networks left out.

    Raises:
        ValueError: If no optimizer trains the policy (ARS), or it has no layer that could be adapted.
    """
    kind, parts = type(policy).__name__, optimized_parts(policy)
    if not parts:
        raise ValueError(f"lora_rank must be None in a {kind}, which is trained without an optimizer, got {rank}")
    layers = adaptable_layers(policy)
    if not layers:
        raise ValueError(f"lora_rank must be None in a {kind} without a linear or convolutional layer, got {rank}")
    adapted = {id(policy.get_submodule(path)) for path in layers}
    targets = [(name, getattr(policy, name.removesuffix("_target")), net) for name, net in target_networks(policy)]
    for name, source, _ in targets:
        layers += [joined(name, path) for path, m in source.named_modules(remove_duplicate=False) if id(m) in adapted]
    put_lora(policy, layers, rank, alpha)
    for _, source, target in targets:
        target.load_state_dict(source.state_dict())
    following = {id(layer) for _, _, target in targets for layer in lora_layers(target).values()}
    found = {id(layer): (path, layer) for path, layer in lora_layers(policy).items() if id(layer) not in following}
    for optimizer in {id(part.optimizer): part.optimizer for part in parts.values()}.values():
        for group in optimizer.param_groups:
            _hold_adapters(group, list(found.values()))
    return [parameter for _, layer in found.values() for _, parameter in lora_parameters(layer)]


def _hold_adapters(group: dict[str, Any], layers: list[tuple[str, Any]]) -> None:
    """Put the adapters of the layers whose weights a group holds into the group."""
    held = {id(parameter) for parameter in group["params"]}
    for path, layer in layers:
        if id(layer.get_base_layer().weight) in held:
            for name, parameter in lora_parameters(layer):
                group["params"].append(parameter)
                if "param_names" in group:  # PyTorch's, of optimizers of named parameters
                    group["param_names"].append(joined(path, name))
