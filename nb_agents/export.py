"""A trained policy as an ONNX file: observation in, action out, no Python needed to run it."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
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
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from torch import nn
from torch.distributions import Distribution

from nb_agents.files import write_atomically
from nb_agents.folding import copy_policy, fold_gates
from nb_agents.gates import named_gates
from nb_agents.weights import FoldError

_OBS = "obs"
_TRANSPARENT = (VecMonitor, VecCheckNan)  # wrappers that leave observations alone


class DeterministicPolicy(nn.Module):
    """What ``model.predict(obs, deterministic=True)`` computes, from the environment's own observations, as a module.

    It takes a batch of observations, one tensor of shape ``(batch, *observation_shape)`` or, for a dictionary space,
    one for each key in the space's order, and returns actions of shape ``(batch, *action_shape)`` in the action space's
    dtype: mode of the distribution, clipped or unscaled into the space. Gates are folded (where a gate cannot be, all
    of them stay in the module). For `torch.export.export` as for `export_onnx`.

    Attributes:
        inputs: Name and space of every input: ``obs``, or the keys of the dictionary.

    Args:
        model: An SB3 model; it is left as it is.
        normalize: See `export_onnx`.

    Raises:
        TypeError: If ``model`` is no SB3 model or ``normalize`` is of the wrong kind.
        ValueError: If the policy is recurrent.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, model: BaseAlgorithm, normalize: VecNormalize | bool = True) -> None:
        super().__init__()
        if not isinstance(model, BaseAlgorithm):
            raise TypeError(f"model must be a Stable-Baselines3 model, got {type(model).__name__}")
        if not isinstance(normalize, (bool, VecNormalize)):
            raise TypeError(f"normalize must be a VecNormalize, True or False, got {type(normalize).__name__}")
        if hasattr(model.policy, "lstm_actor"):
            raise ValueError("a recurrent policy has a state besides the observation and cannot be exported")
        self.policy: Any = _ungated(model.policy).to("cpu")
        space, steps = _observation_steps(model, normalize)
        self._is_dict = isinstance(space, spaces.Dict)
        self.inputs: dict[str, spaces.Space[Any]] = (
            dict(space.spaces) if isinstance(space, spaces.Dict) else {_OBS: space}
        )
        self._keys = [key for key, _ in steps]
        self._steps = nn.ModuleList(step for _, step in steps)
        action_space = model.action_space
        self._dtype = torch.as_tensor(np.zeros(0, action_space.dtype)).dtype
        if isinstance(action_space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(action_space.low))
            self.register_buffer("high", torch.as_tensor(action_space.high))
        self.eval()

    def example(self, batch: int = 2) -> tuple[torch.Tensor, ...]:
        """Inputs of zeros for ``batch`` observations, in the order of `inputs`."""
        return tuple(torch.as_tensor(np.zeros((batch, *(s.shape or ())), s.dtype)) for s in self.inputs.values())

    def forward(self, *observations: torch.Tensor) -> torch.Tensor:
        """Actions, shape ``(batch, *action_shape)``."""
        obs = dict(zip(self.inputs, observations, strict=True))
        for key, step in zip(self._keys, self._steps, strict=True):
            obs[key] = step(obs[key])
        with _unvalidated_distributions():
            actions: torch.Tensor = self.policy._predict(obs if self._is_dict else obs[_OBS], deterministic=True)
        actions = actions.reshape(-1, *self.policy.action_space.shape)
        if isinstance(self.policy.action_space, spaces.Box):
            if self.policy.squash_output:
                actions = self.low + 0.5 * (actions + 1.0) * (self.high - self.low)
            else:
                actions = torch.clamp(actions, self.low, self.high)
        return actions.to(self._dtype)


def export_onnx(model: BaseAlgorithm, path: str | os.PathLike[str], normalize: VecNormalize | bool = True) -> None:
    """Write the deterministic policy as an ONNX file, with gates folded and a dynamic batch axis.

    Inputs are the environment's own observations as batches: ``obs``, or one input for each key of a dictionary space;
    the output is ``action``. Contained are the transposition of images that SB3 added, their scaling to [0, 1], one-hot
    encodings, the statistics of `VecNormalize`, and the clipping or unscaling of actions. So for an environment with
    `VecNormalize` the file answers raw observations, where ``model.predict`` wants normalized ones. Observations are
    taken as they are before all `VecNormalize` and `VecTransposeImage` wrappers; other wrappers that change them, such
    as `VecFrameStack`, stay outside.

    Args:
        model: An SB3 model, k-gated or not; it is left as it is.
        path: The file; it is written at once and whole.
        normalize: True for the statistics of the model's own environment, if it has a `VecNormalize`; another
            `VecNormalize` (a model loaded without environment has none); False for none.

    Raises:
        ImportError: If the packages of the extra ``onnx`` are missing.
        TypeError: If ``model`` or ``normalize`` is of the wrong kind.
        ValueError: If the policy is recurrent.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError('export_onnx needs onnx and onnxscript: pip install "neural-battery[onnx]"') from error
    module = DeterministicPolicy(model, normalize)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own code, and inputs that share their batch axis
        program = torch.onnx.export(
            module,
            module.example(),
            input_names=list(module.inputs),
            output_names=["action"],
            dynamic_shapes=(tuple({0: torch.export.Dim("batch")} for _ in module.inputs),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    write_atomically(path, program.model_proto.SerializeToString())


@contextlib.contextmanager
def _unvalidated_distributions() -> Iterator[None]:
    """PyTorch's distributions look into their parameters, which no exported graph can do."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


class _Normalize(nn.Module):
    """`VecNormalize`'s scaling of observations; in float64, as there."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, statistics: RunningMeanStd, epsilon: float, clip: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        self.register_buffer("std", torch.as_tensor(np.sqrt(statistics.var + epsilon), dtype=torch.float64))
        self.clip = float(clip)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return ((obs.double() - self.mean) / self.std).clamp(-self.clip, self.clip).float()


class _ChannelsFirst(nn.Module):
    """`VecTransposeImage`'s transposition: (batch, height, width, channels) to (batch, channels, height, width)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2)


def _observation_steps(
    model: BaseAlgorithm, normalize: VecNormalize | bool
) -> tuple[spaces.Space[Any], list[tuple[str, nn.Module]]]:
    """The space of the raw observations, and what is done to which of them, in order, before the policy sees them."""
    env: VecEnv | None = normalize if isinstance(normalize, VecNormalize) else model.get_env()
    if env is None:
        return model.observation_space, []
    steps: list[tuple[str, nn.Module]] = []
    outer = env.observation_space
    while isinstance(env, VecEnvWrapper):
        inner: list[tuple[str, nn.Module]] = []
        if isinstance(env, VecTransposeImage):
            keys = env.image_space_keys if isinstance(env.observation_space, spaces.Dict) else [_OBS]
            inner = [] if env.skip else [(key, _ChannelsFirst()) for key in keys]
        elif isinstance(env, VecNormalize) and normalize is not False:
            if env.norm_obs:
                statistics = env.obs_rms if isinstance(env.obs_rms, dict) else {_OBS: env.obs_rms}
                inner = [(key, _Normalize(each, env.epsilon, env.clip_obs)) for key, each in statistics.items()]
        elif not isinstance(env, _TRANSPARENT):
            break
        steps = inner + steps
        env = env.venv
    if isinstance(normalize, VecNormalize):
        steps += _missing_transpositions(outer, model.observation_space)
    return env.observation_space, steps


def _missing_transpositions(given: spaces.Space[Any], wanted: spaces.Space[Any]) -> list[tuple[str, nn.Module]]:
    """Images that come with channels last where the policy wants them first.

    Raises:
        ValueError: If the spaces differ in more than that.
    """
    pairs = {_OBS: (given, wanted)}
    if isinstance(given, spaces.Dict) and isinstance(wanted, spaces.Dict) and given.keys() == wanted.keys():
        pairs = {key: (given[key], wanted[key]) for key in given}
    steps: list[tuple[str, nn.Module]] = []
    for key, (have, want) in pairs.items():
        shape = have.shape or ()
        if len(shape) == 3 and shape != want.shape and (shape[2], *shape[:2]) == want.shape:
            steps.append((key, _ChannelsFirst()))
        elif shape != (want.shape or ()) or type(have) is not type(want):
            raise ValueError(f"normalize must be for the model's observations {wanted}, got one for {given}")
    return steps


def _ungated(policy: BasePolicy) -> BasePolicy:
    """A copy of the policy, its gates folded if all of them can be."""
    with contextlib.suppress(FoldError):
        if any(named_gates(policy)):
            return fold_gates(policy)
    return copy_policy(policy)
