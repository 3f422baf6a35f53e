"""Steps by which a model's vectorized environment changes observations for the policy, as modules for an export."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations
from torch import nn

from nb_agents.inference.normalization import Normalize

OBS = "obs"
"""Name of the observation where the space is no dictionary."""

_TRANSPARENT = (VecMonitor, VecCheckNan, VecVideoRecorder)  # wrappers that leave observations alone

Steps = list[tuple[str, nn.Module]]


def observation_steps(model: BaseAlgorithm | BasePolicy, normalize: VecEnv | bool) -> tuple[spaces.Space[Any], Steps]:
    """The space of the observations that an export takes, and the steps that each of them goes through.

    Args:
        model: An SB3 model, or a policy by itself, which has no environment.
        normalize: Choice as in `nb_agents.export.onnx.export_onnx`.

    Raises:
        TypeError: If ``normalize`` is an environment without `VecNormalize`.
        ValueError: If it is one for other observations, or what `VecNormalize` does to the model's is not known.
    """
    env: VecEnv | None = model.get_env() if isinstance(model, BaseAlgorithm) else None
    env = normalize if isinstance(normalize, VecEnv) else env
    if env is None:
        return model.observation_space, []
    if isinstance(normalize, VecEnv) and unwrap_vec_normalize(normalize) is None:
        raise TypeError(
            "normalize must be a VecNormalize or have one inside, True or False, got an environment without"
        )
    outer = env.observation_space
    streams = {key: _Stream(OBS if key is None else key, space) for key, space in _parts(outer).items()}
    every = list(streams.values())
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            if normalize is not False and env.norm_obs:
                _normalize(streams, env)
        elif _is(env, VecExtractDictObs):
            streams = {env.key: streams[None]}
        elif _is(env, VecFrameStack):
            for key, stream in streams.items():
                stream.stacks.append(env.stacked_obs if key is None else env.stacked_obs.sub_stacked_observations[key])
        elif _is(env, VecTransposeImage):
            _transpose(streams, env)
        elif not isinstance(env, _TRANSPARENT):
            for stream in streams.values():
                stream.hidden_by = stream.hidden_by or type(env).__name__
        env = env.venv
    steps = [(stream.name, step) for stream in every for step in stream.steps]
    if isinstance(normalize, VecEnv):
        steps += _missing_transpositions(outer, model.observation_space)
    if isinstance(outer, spaces.Dict):
        return spaces.Dict({stream.name: stream.space for stream in every}), steps
    return every[0].space, steps


@dataclass
class _Stream:
    """One input on its way from the environment to the policy, followed from the policy's end.

    Attributes:
        name: The input's name.
        space: Space of the input.
        steps: Modules that it goes through, in order.
        stacks: The frame stacks around the wrapper that has been reached; the input is their output.
        hidden_by: The outermost wrapper of unknown effect that has been passed; the input is its output.
    """

    name: str
    space: spaces.Space[Any]
    steps: list[nn.Module] = field(default_factory=list)
    stacks: list[StackedObservations[Any]] = field(default_factory=list)
    hidden_by: str | None = None

    def prepend(self, step: nn.Module, inner: spaces.Space[Any]) -> None:
        """Have the input go through ``step`` first."""
        self.steps.insert(0, step)
        if not self.stacks:
            self.space = inner


def _normalize(streams: dict[str | None, _Stream], env: VecNormalize) -> None:
    """Normalize what passes; frame by frame where frame stacks follow."""
    statistics: dict[Any, RunningMeanStd] = env.obs_rms if isinstance(env.obs_rms, dict) else {None: env.obs_rms}
    modules = {key: Normalize(each.mean, each.var, env.epsilon, env.clip_obs) for key, each in statistics.items()}
    _check(modules, env)
    inner = _parts(env.venv.observation_space)
    for key in streams.keys() & modules.keys():
        stream, module = streams[key], modules[key]
        if stream.hidden_by is not None:
            raise ValueError(
                f"normalize: what becomes of the normalized observations in {stream.hidden_by}, which stands around "
                "VecNormalize, is not known. Pass the VecNormalize itself if they stay as they are, or normalize=False "
                "for a policy that takes them normalized"
            )
        for stack in reversed(stream.stacks):
            if not np.issubdtype(stack.stacked_obs.dtype, np.floating):
                raise ValueError(
                    f"normalize: VecFrameStack rounds the normalized observations to {stack.stacked_obs.dtype}, the "
                    "dtype of the environment's space; pass normalize=False for a policy that takes them so"
                )
            module = module.stacked(stack.n_stack, stack.repeat_axis)
        stream.prepend(module, inner[key])


def _transpose(streams: dict[str | None, _Stream], env: Any) -> None:
    if env.skip:
        return
    inner = _parts(env.venv.observation_space)
    for key in env.image_space_keys if isinstance(env.observation_space, spaces.Dict) else [None]:
        if key in streams:
            stream = streams[key]
            if stream.stacks or stream.hidden_by:
                stream.hidden_by = stream.hidden_by or type(env).__name__
            else:
                stream.prepend(ChannelsFirst(), inner[key])


def _parts(space: spaces.Space[Any]) -> dict[str | None, spaces.Space[Any]]:
    return dict(zip(space, space.values(), strict=True)) if isinstance(space, spaces.Dict) else {None: space}


def _is(env: VecEnvWrapper, known: type[VecEnvWrapper]) -> bool:
    """Whether it is a wrapper of SB3's, or one of the user's that does the same to observations."""
    same = (getattr(type(env), name) is getattr(known, name) for name in ("reset", "step_wait"))
    return isinstance(env, known) and all(same)


def _check(modules: dict[Any, Normalize], env: VecNormalize) -> None:
    """Compare with the wrapper itself, which may be one of the user's.

    Raises:
        ValueError: If it normalizes in another way.
    """
    space = copy.deepcopy(env.venv.observation_space)
    space.seed(0)
    sample: Any = space.sample()
    batch: Any = {key: part[None] for key, part in sample.items()} if isinstance(sample, dict) else sample[None]
    wanted: Any = env.normalize_obs(batch)
    for key, obs in batch.items() if isinstance(batch, dict) else [(None, batch)]:
        given = wanted if key is None else wanted[key]
        found = modules[key](torch.as_tensor(obs)).numpy() if key in modules else obs
        if not np.allclose(found, given, rtol=1e-5, atol=1e-5, equal_nan=True):
            raise ValueError(f"normalize: {type(env).__name__} normalizes otherwise than VecNormalize; pass False")


class ChannelsFirst(nn.Module):
    """`VecTransposeImage`'s transposition: (batch, height, width, channels) to (batch, channels, height, width)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The transposed images."""
        return images.permute(0, 3, 1, 2)


def _missing_transpositions(given: spaces.Space[Any], wanted: spaces.Space[Any]) -> Iterator[tuple[str, nn.Module]]:
    """Images that come with channels last where the policy wants them first.

    Raises:
        ValueError: If the spaces differ in more than that.
    """
    have, want = _parts(given), _parts(wanted)
    if have.keys() != want.keys():
        have, want = {None: given}, {None: wanted}
    for key in have:
        shape, target = have[key].shape or (), want[key].shape or ()
        if len(shape) == 3 and shape != target and (shape[2], *shape[:2]) == target:
            yield OBS if key is None else key, ChannelsFirst()
        elif shape != target or type(have[key]) is not type(want[key]):
            raise ValueError(
                f"normalize must be for the model's observations {wanted}, got one for {given}: where frames are "
                "stacked around it, pass the frame stack"
            )
