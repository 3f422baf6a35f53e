"""Gates out of any torch module, SB3 policy or model: multiplied into the weights behind them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import fx, nn

from nb_agents.compiled import uncompiled
from nb_agents.flow import Flow
from nb_agents.gates import KGate, named_gates
from nb_agents.networks import absorb_in_policy
from nb_agents.policies import KGatedMixin
from nb_agents.rebuild import rebuild
from nb_agents.surgery import check_module
from nb_agents.tracing import TraceError, separate_children, trace
from nb_agents.weights import FoldError

Foldable = TypeVar("Foldable", bound=nn.Module | BaseAlgorithm)


def fold_gates(module: Foldable, *, example_inputs: tuple[Any, ...] | None = None) -> Foldable:
    """A copy without gates that computes the same, to within float rounding; ``module`` is left as it is.

    Args:
        module: A module with gates, a k-gated SB3 policy, or an SB3 model with one. A policy comes back as the plain
            class that the k-gated one extends, with the same constructor parameters and a plain state dict; a model
            as one of the same algorithm with that policy, see `nb_agents.rebuild.rebuild`.
        example_inputs: Arguments of ``forward``; needed only where sizes do not follow from the layers alone.

    Raises:
        TypeError: If ``module`` is neither.
        ValueError: If it has no gates.
        FoldError: If the values behind a gate reach more than linear maps; it names every such gate and the reason.
    """
    if not isinstance(module, BaseAlgorithm):
        check_module(module)
    module = uncompiled(module)
    network: Any = uncompiled(module.policy) if isinstance(module, BaseAlgorithm) else module
    if not any(named_gates(network)):
        raise ValueError(f"there are no gates to fold in {type(network).__name__}")
    if any("forward" in vars(gate) for _, gate in named_gates(network)):
        raise FoldError("the gates have a k-set for each row of a batch at present (per_row)")
    folded: Any
    if isinstance(module, BaseAlgorithm):
        kwargs, state = _without_gate_arguments(module.policy_kwargs), _plain_state(network)
        folded = rebuild(module, _plain_class(network), kwargs, lambda plain: plain.load_state_dict(state))
    elif isinstance(module, BasePolicy):
        folded = _fold_policy(module)
    else:
        folded = copy.deepcopy(module)
        _absorb(folded, example_inputs)
        folded = remove_gates(folded)
    return folded  # type: ignore[no-any-return]


def remove_gates(root: nn.Module) -> nn.Module:
    """Put back, in place, the activation that every gate has taken the place of; the k's are lost."""
    bare = {id(gate.activation) for _, gate in named_gates(root) if type(gate.activation) is nn.Identity}
    for module in list(root.modules()):
        for name, child in module._modules.items():
            if isinstance(child, KGate):
                module._modules[name] = child.activation
    for module in root.modules():
        if isinstance(module, fx.GraphModule):
            for node in list(module.graph.nodes):
                if node.op == "call_module" and id(module.get_submodule(str(node.target))) in bare:
                    node.replace_all_uses_with(node.args[0])
                    module.graph.erase_node(node)
            module.delete_all_unused_submodules()
            module.recompile()
    return root


def _absorb(root: nn.Module, example_inputs: tuple[Any, ...] | None) -> None:
    """Multiply the gates of ``root`` into its weights; the children of what cannot be traced are taken one by one."""
    try:
        graph = trace(root, (), example_inputs)
    except TraceError as error:
        for name, child in separate_children(root):
            if any(named_gates(child)):
                try:
                    _absorb(child, None)
                except FoldError as inner:
                    raise FoldError(f"in {name!r}, {inner} ({error})") from None
        return
    Flow(root, graph).absorb(dict(named_gates(root)))


def copy_policy(policy: BasePolicy) -> BasePolicy:
    """A deep copy; the action distribution, which has no parameters of its own, is shared."""
    # gSDE's distribution holds sampled tensors with a gradient, which cannot be copied.
    shared = [part.action_dist for part in policy.modules() if hasattr(part, "action_dist")]
    return copy.deepcopy(policy, {id(distribution): distribution for distribution in shared})


def _fold_policy(policy: Any) -> Any:
    state = _plain_state(policy)
    with torch.random.fork_rng(devices=[]):
        plain: Any = _plain_class(policy)(**_without_gate_arguments(policy._get_constructor_parameters()))
        plain.load_state_dict(state)
        plain.to(policy.device)
        if getattr(getattr(plain, "actor", plain), "use_sde", False):
            plain.reset_noise()
    plain.set_training_mode(policy.training)
    return plain


def _plain_class(policy: BasePolicy) -> type[BasePolicy]:
    """The SB3 class, or the user's own, that a k-gated policy class extends."""
    return next(c for c in type(policy).__mro__ if issubclass(c, BasePolicy) and not issubclass(c, KGatedMixin))


def _plain_state(policy: BasePolicy) -> dict[str, Any]:
    """State dict of the plain policy that computes what ``policy`` does."""
    folded = copy_policy(policy)
    absorb_in_policy(folded)
    state = remove_gates(folded).state_dict()
    return {key: value for key, value in state.items() if not key.startswith(("regularizer.", "_extra_state"))}


def _without_gate_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that `KGatedMixin` hands on to the plain policy."""
    own = inspect.signature(KGatedMixin.__init__).parameters.keys()
    return {key: value for key, value in kwargs.items() if key not in own}
