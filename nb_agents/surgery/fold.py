"""Gates taken out of any torch module, SB3 policy or model: they are multiplied into the weights behind them."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import fx, nn

from nb_agents._checks import check_flag
from nb_agents._objects import uncompiled
from nb_agents.adapters.lora import lora_layers, merge_lora
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.usage import plain_class
from nb_agents.surgery.absorbed import absorbed, check_module
from nb_agents.surgery.copies import copy_of
from nb_agents.surgery.networks import absorb_in_policy
from nb_agents.surgery.rebuild import keep_frozen, rebuild
from nb_agents.surgery.sameness import difference, policy_difference
from nb_agents.surgery.transformers import ungate_transformers
from nb_agents.surgery.weights import FoldError

Foldable = TypeVar("Foldable", bound=nn.Module | BaseAlgorithm)


def fold_gates(
    module: Foldable,
    *,
    example_inputs: tuple[Any, ...] | None = None,
    methods: Collection[str] | None = None,
    fixed: bool = False,
) -> Foldable:
    """A copy without gates that computes the same, to within float rounding; ``module`` is left as it is.

    Low-rank adapters are merged into the weights first, by peft's own merge.

    All paths through the code are followed: both modes, optional arguments given or not, branches on values, and every
    public method that uses the module's children; attributes that are True, False or None are followed at both values.
    What cannot be followed is refused, see `doubts.py`. The result is then compared with ``module`` in both
    modes: a policy on samples of its observation space, a module on ``example_inputs``.

    Args:
        module: A module with gates, a k-gated SB3 policy, or an SB3 model with one. A policy comes back as the plain
            class that the k-gated one extends, with the same constructor parameters and a plain state dict; a model
            as one of the same algorithm with that policy, see `nb_agents.surgery.rebuild.rebuild`.
        example_inputs: Arguments of ``forward``, a batch of at least two. Needed where sizes do not follow from the
            layers alone or ``forward`` cannot be followed as a whole; checked against wherever given.
        methods: Names of the methods besides ``forward`` that have to compute the same; None for all public ones.
        fixed: Whether the attributes of a module that decide what is computed (switches, numbers, texts) are promised
            to stay as they are, as in a network of torchvision's; needs ``example_inputs``. Otherwise switches are
            followed at both values, and numbers are refused.

    Raises:
        TypeError: If ``module`` is neither.
        ValueError: If it has no gates and no low-rank adapters, or an argument does not fit it.
        FoldError: If a gate can be multiplied neither into the layer before it nor into those behind it, is not called
            or not finite (it names every such gate and the reason), or if the result does not compute the same.
    """
    if not isinstance(module, BaseAlgorithm):
        check_module(module)
    module = uncompiled(module)
    if check_flag("fixed", fixed) and (example_inputs is None or isinstance(module, (BaseAlgorithm, BasePolicy))):
        raise ValueError(
            "fixed=True needs a module that is no policy, and its example_inputs, to compare the result on"
        )
    network: Any = uncompiled(module.policy) if isinstance(module, BaseAlgorithm) else module
    if not any(named_gates(network)) and not lora_layers(network):
        raise ValueError(f"there are no gates to fold in {type(network).__name__}, and no low-rank adapters to merge")
    if any(conditioned_nets(network)):
        raise FoldError("the gates' k's are computed for each row of a batch: fold the policy `at` a context")
    if any("forward" in vars(gate) for _, gate in named_gates(network)):
        raise FoldError("the gates have a k-set for each row of a batch at present (per_row)")
    folded: Any
    if isinstance(module, BaseAlgorithm):
        kwargs, state = _without_gate_arguments(module.policy_kwargs), _plain_state(network)
        folded = rebuild(module, plain_class(type(network)), kwargs, lambda plain: _fill(plain, state, network))
        _check(policy_difference(network, folded.policy))
    elif isinstance(module, BasePolicy):
        folded = _fold_policy(module)
        _check(policy_difference(module, folded))
    else:
        merged = merge_lora(copy_of(module)) if lora_layers(module) else module
        gated = any(named_gates(merged))
        folded = remove_gates(absorbed(merged, example_inputs, methods, fixed=fixed)) if gated else merged
        if example_inputs is not None:
            _check(difference(module, folded, lambda m: m(*example_inputs)))
    return folded  # type: ignore[no-any-return]


def _check(difference: str) -> None:
    if difference:
        raise FoldError(f"the network without gates does not compute the same: {difference}")


def remove_gates(root: nn.Module) -> nn.Module:
    """Put back, in place, the activation that every gate has taken the place of; the k's are lost."""
    bare = {id(gate.activation) for _, gate in named_gates(root) if type(gate.activation) is nn.Identity}
    for module in list(root.modules()):
        for name, child in module._modules.items():
            if isinstance(child, KGate):
                module._modules[name] = child.activation
    ungate_transformers(root)
    for module in root.modules():
        if isinstance(module, fx.GraphModule):
            for node in list(module.graph.nodes):
                if node.op == "call_module" and id(module.get_submodule(str(node.target))) in bare:
                    node.replace_all_uses_with(node.args[0])
                    module.graph.erase_node(node)
            module.delete_all_unused_submodules()
            module.recompile()
    return root


def _fold_policy(policy: Any) -> Any:
    state = _plain_state(policy)
    with torch.random.fork_rng(devices=[]):
        plain: Any = plain_class(type(policy))(**_without_gate_arguments(policy._get_constructor_parameters()))
        _fill(plain, state, policy)
        plain.to(policy.device)
        if getattr(getattr(plain, "actor", plain), "use_sde", False):
            plain.reset_noise()
    plain.set_training_mode(policy.training)
    return plain


def _fill(plain: nn.Module, state: dict[str, Any], gated: BasePolicy) -> None:
    plain.load_state_dict(state)
    keep_frozen(plain, gated)


def _plain_state(policy: BasePolicy) -> dict[str, Any]:
    """State dict of the plain policy that computes what ``policy`` does."""
    folded = copy_of(policy)
    merge_lora(folded)
    if any(named_gates(folded)):
        absorb_in_policy(folded)
    state = remove_gates(folded).state_dict()
    return {key: value for key, value in state.items() if not key.startswith(("regularizer.", "_extra_state"))}


def _without_gate_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that `KGatedMixin` hands on to the plain policy."""
    own = inspect.signature(KGatedMixin.__init__).parameters.keys()
    return {key: value for key, value in kwargs.items() if key not in own}
