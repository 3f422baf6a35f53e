"""The models: as the settings say, and the source that all runs of a seed begin from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from nb_agents.comparison.settings import action_noise, algorithm, arguments, normalisation, policy_name
from nb_agents.comparison.specification import ComparisonSpec
from nb_agents.comparison.worlds import make_worlds
from nb_evaluation.kept import kept, kept_name
from nb_evaluation.runs.provenance import versions


def worlds_of(
    spec: ComparisonSpec, keywords: Mapping[str, Any], *, shown: bool = False, num: int | None = None
) -> VecEnv:
    """Environments of a task, with a `VecNormalize` where the settings ask for one; a context stays as it is."""
    env = make_worlds(spec, keywords, spec.settings.get("n_envs", 1) if num is None else num, shown=shown)
    options = normalisation(spec.settings)
    if options is None:
        return env
    own: dict[str, Any] = {"norm_obs_keys": ["observation"]} if shown else {}
    return VecNormalize(env, **own, **options)


def build(spec: ComparisonSpec, env: VecEnv) -> BaseAlgorithm:
    """A model that has not trained, on the CPU."""
    cls = algorithm(spec.algo)
    policy = spec.settings.get("policy") or policy_name(cls, env.observation_space)
    given = arguments(spec.settings) | action_noise(spec.settings, env.action_space)
    model = cls(policy, env, seed=spec.seed, device="cpu", **given)
    model.set_logger(Logger(folder=None, output_formats=[]))  # SB3's own leaves a folder in the temporary one
    return model


def source_model(spec: ComparisonSpec) -> BaseAlgorithm:
    """The model that was trained on the source; trained once on a machine for all runs of its seed."""
    content = kept(_name(spec), lambda: _trained(spec))
    data = torch.load(io.BytesIO(content), weights_only=True)
    model = build(spec, worlds_of(spec, spec.source))
    model.set_parameters(data["parameters"], exact_match=True, device="cpu")
    for name, value in data["variables"].items():
        recursive_setattr(model, f"{name}.data", value)
    model.num_timesteps = data["steps"]
    env: Any = model.get_env()
    normalize = unwrap_vec_normalize(env)
    if normalize is not None:
        for name, each in data["statistics"].items():
            setattr(normalize, name, _statistics(each))
    return model


def _trained(spec: ComparisonSpec) -> bytes:
    with closing(worlds_of(spec, spec.source)) as env:
        return _written(build(spec, env).learn(spec.source_steps))


def _name(spec: ComparisonSpec) -> str:
    """By all that decides the source."""
    names = ("env", "wrapper", "common", "source", "algo", "settings", "source_steps", "seed", "code")
    return kept_name("comparison", {name: getattr(spec, name) for name in names}, versions())


def _written(model: BaseAlgorithm) -> bytes:
    """Parameters, SAC's entropy coefficient and its like, and the statistics of a `VecNormalize`: tensors alone."""
    env: Any = model.get_env()
    normalize, statistics = unwrap_vec_normalize(env), {}
    if normalize is not None:
        for name in ("obs_rms", "ret_rms"):
            if hasattr(normalize, name):
                statistics[name] = _tensors(getattr(normalize, name))
    buffer = io.BytesIO()
    variables = {name: recursive_getattr(model, name).detach() for name in model._get_torch_save_params()[1]}
    data = {
        "parameters": model.get_parameters(), "variables": variables, "statistics": statistics,
        "steps": model.num_timesteps,
    }  # fmt: skip
    torch.save(data, buffer)
    return buffer.getvalue()


def _tensors(each: RunningMeanStd | dict[str, RunningMeanStd]) -> dict[str, Any]:
    if isinstance(each, dict):
        return {"parts": {name: _tensors(part) for name, part in each.items()}}
    return {"mean": torch.as_tensor(each.mean), "var": torch.as_tensor(each.var), "count": float(each.count)}


def _statistics(data: Mapping[str, Any]) -> RunningMeanStd | dict[str, RunningMeanStd]:
    if "parts" in data:
        return {name: _statistics(part) for name, part in data["parts"].items()}  # type: ignore[misc]
    made = RunningMeanStd(shape=tuple(data["mean"].shape))
    made.mean, made.var, made.count = data["mean"].numpy(), data["var"].numpy(), data["count"]
    return made
