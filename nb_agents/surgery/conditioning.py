"""Computed k's for a model that was trained without: its weights stay, and f starts at 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.fixed import without_part
from nb_agents.policies.usage import GENERIC_NAMES
from nb_agents.surgery.rebuild import keep_frozen, rebuild, unkeyed
from nb_agents.surgery.sameness import policy_difference
from nb_agents.surgery.weights import FoldError
from nb_agents.surgery.worlds import known_statistics, take_over, wrapped


def with_computed_k(model: Any, original: Any, k_from: str, env: Any, arguments: dict[str, Any]) -> Any:
    """A model whose k's are computed from a part of the observation, and that acts as ``original`` does.

    Args:
        model: A k-gated model, whose gates' k's become k0.
        original: The model that it was made of, to be compared with.
        k_from: Name of the part.
        env: Environment that shows the part beside what ``model`` observes.
        arguments: Further arguments of `KGatedMixin`.

    Raises:
        TypeError: If there is no environment.
        ValueError: If it shows something else, or standardised otherwise, or the policy's class has no place for it.
        FoldError: If the result does not act as ``original`` does.
    """
    if env is None:
        raise TypeError(f"env must be an environment that shows {k_from!r} beside what the model observes, got None")
    worlds = wrapped(model, env)
    seen = _Seen(worlds.observation_space, k_from)
    if seen.space != model.observation_space or worlds.action_space != model.action_space:
        raise ValueError(
            f"env must show {k_from!r} beside what the model observes, {model.observation_space}, and take its actions,"
            f" {model.action_space}; got {worlds.observation_space} and {worlds.action_space}"
        )
    statistics = known_statistics(original, worlds)
    target, in_a_dictionary = type(model.policy), isinstance(worlds.observation_space, spaces.Dict)
    if in_a_dictionary and not isinstance(model.observation_space, spaces.Dict):
        target = model.policy_aliases[GENERIC_NAMES[2]]
        arguments = {**_reading_arguments(model.policy), **arguments}
    if differs := policy_difference(original.policy, model.policy):
        raise FoldError(f"{type(model.policy).__name__} does not compute what the model's policy does: {differs}")

    def fill(policy: BasePolicy) -> None:
        policy.load_state_dict(_widened(model.policy, policy))
        for net in conditioned_nets(policy):
            start_at_zero(net.k_net)
        keep_frozen(policy, original.policy)

    # Of the original: the optimizer's groups of the k's are to be the new policy's own, with f in them.
    made = rebuild(original, target, {**model.policy_kwargs, **arguments, "k_from": k_from}, fill, worlds)
    if differs := policy_difference(original.policy, made.policy, seen):
        raise FoldError(f"{target.__name__} does not compute what the model's policy does: {differs}")
    take_over(statistics)
    return made


def _reading_arguments(policy: Any) -> dict[str, Any]:
    """The arguments with which a policy for dictionaries reads one entry as ``policy`` reads the observation itself."""
    given = dict(policy.features_extractor_kwargs)
    if policy.features_extractor_class is NatureCNN:
        given["cnn_output_dim"] = given.pop("features_dim", 512)
    elif policy.features_extractor_class is not FlattenExtractor:
        raise ValueError("model must have SB3's FlattenExtractor or NatureCNN where env shows a dictionary, got "
                         f"{policy.features_extractor_class.__name__}")  # fmt: skip
    return {
        "features_extractor_class": CombinedExtractor,
        "features_extractor_kwargs": given,
        "net_arch": policy.net_arch,  # SB3's default depends on the extractor
    }


class _Seen:
    """What a policy sees without a part of the observation."""

    def __init__(self, space: spaces.Space[Any], k_from: str) -> None:
        parts: Any = space.spaces if isinstance(space, spaces.Dict) else getattr(space, "parts", {})
        if k_from not in parts or len(parts) < 2:
            raise ValueError(f"env must show {k_from!r} beside other parts of its observation, got {space}")
        self.k_from, self.part = k_from, parts[k_from]
        self.space = without_part(space, k_from)

    def __call__(self, observations: Any) -> Any:
        """The rest of a batch of observations."""
        if not isinstance(observations, dict):
            return np.delete(observations, self.part, axis=1)
        rest = {name: value for name, value in observations.items() if name != self.k_from}
        return next(iter(rest.values())) if len(rest) == 1 else rest


def _widened(old: BasePolicy, new: BasePolicy) -> dict[str, Any]:
    """The state of ``old`` for ``new``: layers that see the part beside the rest start with no weight on it."""
    known, state = old.state_dict(), new.state_dict()
    given = next(conditioned_nets(new)).given.tolist()
    source = {name: name if name in known else unkeyed(name) for name in state}
    lost = [name for name in known.keys() - {*source.values()} if not name.startswith("_extra_state")]
    if lost:
        raise ValueError(f"{type(new).__name__} has no place for {sorted(lost)} of the model's policy")
    for name, value in state.items():
        if source[name] not in known:
            continue
        before = known[source[name]]
        if value.shape == before.shape:
            state[name] = before
            continue
        wide = value.dim() in (1, 2) and value.shape[-1] == before.shape[-1] + len(given)
        if not wide or value.shape[:-1] != before.shape[:-1]:
            raise ValueError(f"what reads the observation must be a linear layer, and {name} is of none")
        # A normalization in front of a layer, as CrossQ's, knows nothing of the part yet.
        state[name] = torch.zeros_like(value) if value.dim() == 2 else value.clone()
        state[name][..., [i for i in range(value.shape[-1]) if i not in given]] = before
    return state


@torch.no_grad()
def start_at_zero(k_net: nn.Module) -> None:
    """Let f be 0: its last linear layer has no weights and no bias."""
    last = [module for module in k_net.modules() if isinstance(module, nn.Linear)][-1:]
    for parameter in (p for layer in last for p in layer.parameters()):
        parameter.zero_()
