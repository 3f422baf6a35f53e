"""An SB3 model with another policy class: what folding and retrofitting have in common."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from stable_baselines3.common.buffers import DictReplayBuffer, DictRolloutBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.type_aliases import GymEnv
from torch import nn

from nb_agents.adapters.lora import lora_layers
from nb_agents.gates.gate import named_gates
from nb_agents.policies.optim import carry_groups, optimized_parts

_OF_THE_ENVIRONMENT = ("observation_space", "n_envs", "_last_obs", "_last_original_obs", "_last_episode_starts")

_BUFFERS = ("rollout_buffer_class", "replay_buffer_class")
_SB3S_BUFFERS = (RolloutBuffer, DictRolloutBuffer, ReplayBuffer, DictReplayBuffer)


def rebuild(
    model: Any,
    policy_class: type[BasePolicy],
    policy_kwargs: Mapping[str, Any],
    fill: Callable[[Any], object],
    env: GymEnv | None = None,
) -> Any:
    """A model of the same algorithm in the same state of training, with another policy; as `BaseAlgorithm.load` does.

    Settings, schedules, counters, entropy coefficient and its optimizer are copied. Environment (with its
    `VecNormalize`), replay buffer and a logger set by the user are shared with ``model``: they may be large, and belong
    to the task. The optimizers of the policy keep their parameter groups and the options that these have by now, those
    added or changed since the policy was made included; their moments start afresh. No random number generator is moved
    or seeded.

    Args:
        model: Any SB3 model, which is not changed.
        policy_class: Class of the new policy.
        policy_kwargs: Arguments of it, kept for `save` and `load`.
        fill: Function that gives the new policy its parameters.
        env: Environment of the new model where it is not to be the old one's; what it observes may be something else,
            so the replay buffer is new then, too.

    Raises:
        TypeError: If the policy's optimizer is of another class than its arguments say.
        ValueError: If it holds parameters that are not the policy's.
    """
    state_dicts, variables = model._get_torch_save_params()
    excluded = {*model._excluded_save_params(), *(name.split(".")[0] for name in (*state_dicts, *variables))}
    data = {name: value for name, value in model.__dict__.items() if name not in excluded}
    kept = {"observation_space", "action_space", "tensorboard_log"}
    shared = {name: data.pop(name) for name in kept & data.keys()}
    if env is not None:
        chosen = {name for name in _BUFFERS if data.get(name) in _SB3S_BUFFERS}  # by what is observed
        left = {*_OF_THE_ENVIRONMENT, *chosen}
        data, shared = ({k: v for k, v in each.items() if k not in left} for each in (data, shared))
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        new = type(model)(policy=policy_class, env=env or model.env, device=model.device, _init_setup_model=False)
        new.__dict__.update(copy.deepcopy(data) | shared)
        new.policy_class, new.policy_kwargs = policy_class, dict(copy.deepcopy(dict(policy_kwargs)))
        if hasattr(model, "replay_buffer") and env is None:
            new.replay_buffer = model.replay_buffer
        if model._custom_logger:
            new.set_logger(model.logger)
        new.seed = None  # the seed has been used: setting the model up must not start anything over
        new._setup_model()
        new.seed = model.seed
        fill(new.policy)
        if model.use_sde:
            new.policy.reset_noise()
    _keep_groups(new.policy, model.policy)
    for name in state_dicts:
        owner = name.split(".")[0]
        if owner not in ("policy", "actor", "critic"):
            recursive_getattr(new, name).load_state_dict(copy.deepcopy(recursive_getattr(model, name).state_dict()))
    for name in variables:
        # The data alone: the optimizer of the entropy coefficient holds the tensor itself.
        recursive_getattr(new, name).data.copy_(recursive_getattr(model, name).data)
    new.policy.set_training_mode(model.policy.training)
    return new


def plain_name(name: str, gates: Iterable[str], adapted: Iterable[str] = ()) -> str:
    """The name of a gated network's parameter in the network without gates, and without adapters on those layers."""
    for layer in adapted:
        if name.startswith(f"{layer}.base_layer."):
            name = f"{layer}.{name.removeprefix(f'{layer}.base_layer.')}"
            break
    for gate in gates:
        if name.startswith(f"{gate}.activation."):
            return f"{gate}.{name.removeprefix(f'{gate}.activation.')}"
    return name


def unkeyed(name: str) -> str:
    """The name of a parameter where the entry of a dictionary that it reads is the observation itself."""
    return re.sub(r"\.extractors\.[^.]+\.", ".", name)


def _counterparts(new: nn.Module, old: nn.Module) -> dict[nn.Parameter, nn.Parameter]:
    """The parameters of the old network by those of the new one that have the same name without gates.

    An entry of a dictionary may have become the observation itself, and the other way round.
    """
    before, after = (([name for name, _ in named_gates(net)], lora_layers(net)) for net in (old, new))
    named = {plain_name(name, *before): p for name, p in old.named_parameters(remove_duplicate=False)}
    alone = {unkeyed(name): p for name, p in named.items()}
    pairs = (
        (p, named.get(plain := plain_name(name, *after), alone.get(unkeyed(plain))))
        for name, p in new.named_parameters(remove_duplicate=False)
    )
    return {p: source for p, source in pairs if source is not None}


def _keep_groups(new: Any, old: Any) -> None:
    """Give the optimizers of a policy the groups and options of the one that it comes from."""
    source, theirs = _counterparts(new, old), {id(parameter) for parameter in old.parameters()}
    parts = optimized_parts(new)
    for name, part in optimized_parts(old).items():
        foreign = [p for group in part.optimizer.param_groups for p in group["params"] if id(p) not in theirs]
        if foreign:
            shapes = ", ".join(str(tuple(p.shape)) for p in foreign)
            raise ValueError(
                f"{name}.optimizer must hold parameters of the policy alone, but holds others, of shape {shapes}: add "
                "them to the new model's optimizer instead"
            )
        if name in parts:
            carry_groups(parts[name].optimizer, part.optimizer, source)


def keep_frozen(new: nn.Module, old: Any) -> None:
    """Freeze the parameters that the user has frozen in the network that ``new`` comes from, and thaw all others.

    What `TrainOnlyMixin.train_only` holds is not frozen by the user.
    """
    by_us = {id(parameter) for parameter in getattr(old, "_frozen", ())}
    for parameter, source in _counterparts(new, old).items():
        parameter.requires_grad_(source.requires_grad or id(source) in by_us)
