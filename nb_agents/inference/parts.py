"""Where the parts of an observation stand among the features that SB3's extractors make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import nn


def check_k_from(k_from: Any, k_net: Any) -> Any:
    """Refuse what names no part of an observation.

    Raises:
        TypeError: If ``k_from`` is something else than None, a name, or ().
        ValueError: If it is empty text, or () where ``k_net`` has no parameters of its own to compute k's from.
    """
    if k_from is not None and not isinstance(k_from, str) and k_from != ():
        raise TypeError(f"k_from must be the name of a part of the observation, or None, got {k_from!r}")
    if k_from == "":
        raise ValueError("k_from must be the name of a part of the observation, or None, got ''")
    if k_from == () and not callable(k_net):
        raise ValueError(f"k_net must be a function where k_from is (), as f is shown nothing, got {k_net!r}")
    return k_from


def feature_parts(space: spaces.Space[Any], extractor: nn.Module) -> Mapping[str, slice]:
    """Slices of the features by the names of the observation's parts.

    Args:
        space: Space of the observations: a dictionary, or a flat one with ``parts``, slices by name.
        extractor: Features extractor of the policy.

    Raises:
        ValueError: If the observation has no named parts, or the extractor does not hand them on as they are.
    """
    if isinstance(space, spaces.Dict):
        if type(extractor) is not CombinedExtractor:
            raise ValueError(f"k_from needs SB3's CombinedExtractor with a dictionary, got {type(extractor).__name__}")
        found, start = dict[str, slice](), 0
        for name, module in extractor.extractors.items():
            own: Any = module
            width: int = get_flattened_obs_dim(space[name]) if isinstance(module, nn.Flatten) else own.features_dim
            found[name] = slice(start, start + width)
            start += width
        return found
    parts: Any = getattr(space, "parts", None)
    if not isinstance(parts, Mapping):
        raise ValueError(
            f"k_from needs an observation with named parts, as nb_gym.wrappers make them, or a dictionary; got {space}"
        )
    if type(extractor) is not FlattenExtractor:
        raise ValueError(f"k_from needs SB3's FlattenExtractor with a flat observation, got {type(extractor).__name__}")
    return dict(parts)
