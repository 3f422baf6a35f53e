"""What a `VecNormalize` makes of observations: for the student, which is shown them raw, and for who checks it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from torch import nn


class Normalize(nn.Module):
    """`VecNormalize`'s scaling of observations; in float64, as there."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Any, var: Any, epsilon: float, clip: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.as_tensor(np.sqrt(var + epsilon), dtype=torch.float64))
        self.clip = float(clip)

    def stacked(self, n: int, axis: int) -> Normalize:
        """The same for ``n`` frames, one behind the other along ``axis`` of an observation."""
        each = copy.deepcopy(self)
        each.mean, each.std = (torch.cat([part] * n, dim=axis) for part in (self.mean, self.std))
        return each

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Observations of shape ``(batch, ...)`` in float32."""
        return ((obs.double() - self.mean) / self.std).clamp(-self.clip, self.clip).float()


def normalizing(env: VecEnv | None) -> list[VecNormalize]:
    """The `VecNormalize` wrappers that standardise observations, wherever they stand, the outermost first."""
    found = []
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize) and env.norm_obs:
            found.append(env)
        env = env.venv
    return found


def standardised_parts(env: VecEnv | None) -> set[str]:
    """Names of the parts of the observation that a `VecNormalize` standardises: keys of a dictionary, or all parts."""
    names = set[str]()
    for layer in normalizing(env):
        names |= set(
            layer.obs_rms if isinstance(layer.obs_rms, dict) else getattr(layer.observation_space, "parts", ())
        )
    return names


def normalization(env: VecEnv | None, k_from: str) -> Normalize | None:
    """What becomes of the observation that stands beside a part; None if it stays as it is.

    Args:
        env: Environments of a teacher.
        k_from: The part, beside which there is one more.

    Raises:
        ValueError: If the part is standardised as well, or the observation more than once.
    """
    layers = normalizing(env)
    if not layers:
        return None
    if len(layers) > 1:
        raise ValueError(f"env must have one VecNormalize that standardises observations, got {len(layers)}")
    statistics, clip = layers[0].obs_rms, layers[0].clip_obs
    if not isinstance(statistics, dict) or k_from in statistics:
        raise ValueError(f"the VecNormalize of env must not standardise {k_from!r}: make the parts a dictionary and "
                         f"leave {k_from!r} out of norm_obs_keys")  # fmt: skip
    if not statistics:
        return None
    (own,) = statistics.values()
    return Normalize(own.mean, own.var, layers[0].epsilon, clip)


def same_normalization(one: Normalize | None, other: Normalize | None) -> bool:
    """Whether they make the same of every observation."""
    if one is None or other is None:
        return one is other
    pairs = ((one.mean, other.mean), (one.std, other.std))
    return one.clip == other.clip and all(torch.equal(ours.cpu(), theirs.cpu()) for ours, theirs in pairs)


def normalized_as(env: VecEnv, model_env: VecEnv | None) -> VecEnv:
    """Environments seen through the normalisation of a model's, in a copy that stands still, if they have none."""
    present = normalizing(model_env)
    if not present or normalizing(env):
        return env
    layer = copy.deepcopy(present[0])  # without its environment, as SB3 pickles it
    layer.set_venv(env)
    layer.training = False
    return layer
