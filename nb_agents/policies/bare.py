"""The class of a policy that is to do without a part of its observation, and how it reads what is left."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN

from nb_agents.inference.fixed import without_part
from nb_agents.policies.usage import GENERIC_NAMES, _algorithms


def bare_class(policy: Any) -> tuple[type[BasePolicy], dict[str, Any]]:
    """The class of a policy without the part ``k_from``, and the arguments that say how it reads what is left.

    Where one entry of a dictionary is left, it is read by itself, as the dictionary's extractor reads it, and the class
    is that for vectors or images which the algorithm knows beside the policy's; a class of the user's stays.

    Args:
        policy: k-gated policy with ``k_from``, a part of the observation.
    """
    rest = without_part(policy.observation_space, policy.k_from)
    if not isinstance(policy.observation_space, spaces.Dict) or isinstance(rest, spaces.Dict):
        return type(policy), {}
    given = dict(policy.features_extractor_kwargs)
    normalized = given.get("normalized_image", False)
    is_image = is_image_space(rest, normalized_image=normalized)
    known = (each.policy_aliases for each in _algorithms)
    bare = next((each[GENERIC_NAMES[is_image]] for each in known if each.get(GENERIC_NAMES[2]) is type(policy)), None)
    kwargs = {"features_dim": given.get("cnn_output_dim", 256), "normalized_image": normalized} if is_image else {}
    reads = {"features_extractor_class": NatureCNN if is_image else FlattenExtractor}
    # SB3's own layers behind an image are others by default than those behind a dictionary.
    return bare or type(policy), {**reads, "features_extractor_kwargs": kwargs, "net_arch": policy.net_arch}
