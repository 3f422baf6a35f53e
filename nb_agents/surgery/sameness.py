"""Whether two networks compute the same, in training and in evaluation mode, without a trace left in either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import nn
from torch.utils import _pytree as pytree

from nb_agents.surgery.copies import copy_of

TOLERANCE = {torch.float64: 1e-8, torch.float16: 5e-2, torch.bfloat16: 2e-1}
"""Largest difference that counts as rounding, over the largest value of an output; 1e-3 for other types."""


def difference(
    one: nn.Module,
    other: nn.Module,
    run: Callable[[nn.Module], Any],
    modes: tuple[bool | None, ...] = (None, True, False),
    run_other: Callable[[nn.Module], Any] | None = None,
) -> str:
    """In words, where ``run`` gives different values on two modules; empty if nowhere.

    Copies are run, from the same state of the random number generators. ``modes`` are train() (True), eval() (False)
    and the mode in which each part is (None); one in which ``one`` fails is skipped. ``run_other`` is for ``other``
    where that is asked otherwise.

    Raises:
        ValueError: If ``one`` fails in every mode.
    """
    failure: Exception | None = None
    compared = False
    for mode in modes:
        try:
            expected = _run(one, run, mode)
        except Exception as error:  # a batch normalization refuses a batch of one in training mode, for example
            failure = error
            continue
        compared = True
        name = "its present" if mode is None else "train()" if mode else "eval()"
        try:
            got = _run(other, run_other or run, mode)
        except Exception as error:
            return f"in {name} mode it fails: {error}"
        leaves, structure = pytree.tree_flatten(expected)
        others, same_structure = pytree.tree_flatten(got)
        if structure != same_structure:
            return f"in {name} mode it gives {same_structure}, not {structure}"
        for a, b in zip(leaves, others, strict=True):
            if not _same(a, b):
                return f"in {name} mode its output differs{_by(a, b)}"
    if not compared:
        raise ValueError(f"example_inputs must be what {type(one).__name__} accepts, but it fails: {failure}")
    return ""


def policy_difference(
    policy: BasePolicy, other: BasePolicy, seen: Callable[[Any], Any] = lambda observations: observations
) -> str:
    """`difference` of two SB3 policies on samples of the observation space of ``other``.

    Args:
        policy: One policy.
        other: Another one.
        seen: Function that gives of observations of ``other`` what ``policy`` sees of them.
    """
    modes = (True, False) if getattr(policy, "trains", "all") == "all" else (False,)
    observations = _samples(other.observation_space, 4)
    run, run_other = (lambda p, o=o: list(_answers(p, o)) for o in (seen(observations), observations))
    return difference(policy, other, run, modes, run_other)


@torch.no_grad()
def _answers(policy: Any, obs_np: Any) -> Iterator[Any]:
    """All that algorithms and users ask a policy of SB3 or sb3-contrib for, on a batch of four observations."""
    act_space = policy.action_space
    actions_np = _samples(act_space, 4)
    if isinstance(act_space, spaces.Box):
        actions_np = policy.scale_action(actions_np) if np.isfinite(act_space.low).all() else actions_np
    obs, _ = policy.obs_to_tensor(obs_np)
    actions = torch.as_tensor(actions_np, device=policy.device)
    actions = actions if isinstance(act_space, (spaces.Discrete, spaces.MultiDiscrete)) else actions.float()
    if hasattr(policy, "lstm_actor"):
        yield policy.predict(obs_np, deterministic=True)
        layers, hidden = policy.lstm_hidden_state_shape[0], policy.lstm_hidden_state_shape[2]
        states = tuple(torch.zeros((layers, 4, hidden), device=policy.device) for _ in range(2))
        yield policy.predict_values(obs, states, torch.ones(4, device=policy.device))
    elif hasattr(policy, "evaluate_actions"):
        values, log_prob, entropy = policy.evaluate_actions(obs, actions)
        yield [values, policy.predict_values(obs), log_prob, entropy]
        yield policy(obs, deterministic=True)[0]
    for name in ("actor", "actor_target"):
        actor: Any = getattr(policy, name, None)
        if actor is not None:
            yield actor(obs)
    for name in ("critic", "critic_target"):
        critic: Any = getattr(policy, name, None)
        if hasattr(critic, "q_networks"):
            yield critic(obs, actions)
    for name in ("q_net", "q_net_target", "quantile_net", "quantile_net_target"):
        network: Any = getattr(policy, name, None)
        if network is not None:
            yield network(obs)
    if hasattr(policy, "action_net") and not hasattr(policy, "mlp_extractor"):  # ARS
        yield policy(obs)


def _samples(space: spaces.Space[Any], n: int) -> Any:
    """``n`` samples as a batch; unbounded numbers are standard normal, and no generator of the space is moved."""
    if isinstance(space, spaces.Dict):
        return {key: _samples(part, n) for key, part in space.spaces.items()}
    rng = np.random.default_rng(0)
    if isinstance(space, spaces.Box):
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        low, high = np.where(bounded, space.low, 0.0), np.where(bounded, space.high, 1.0)
        sample = low + (high - low) * rng.random((n, *space.shape))
        sample = np.where(bounded, sample, np.clip(rng.normal(size=sample.shape), space.low, space.high))
        return sample.astype(space.dtype)
    if isinstance(space, spaces.Discrete):
        return int(space.start) + rng.integers(int(space.n), size=n)
    if isinstance(space, spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(n, *space.nvec.shape))
    return rng.integers(2, size=(n, *(space.shape or ())), dtype=np.int8)


def _run(module: nn.Module, run: Callable[[nn.Module], Any], mode: bool | None) -> Any:
    twin = copy_of(module)
    if mode is not None:
        twin.set_training_mode(mode) if isinstance(twin, BasePolicy) else twin.train(mode)
    devices = {p.device.index or 0 for p in twin.parameters() if p.device.type == "cuda"}
    with torch.no_grad(), torch.random.fork_rng(devices=sorted(devices)):
        torch.manual_seed(0)
        if getattr(getattr(twin, "actor", twin), "use_sde", False):
            twin.reset_noise(4)  # type: ignore[operator]
        return run(twin)


def _same(a: Any, b: Any) -> bool:
    if not (torch.is_tensor(a) and torch.is_tensor(b)):
        equal = np.array_equal(a, b) if not isinstance(a, np.ndarray) else np.allclose(a, b, rtol=1e-3, atol=1e-4)
        return type(a) is type(b) and equal
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    largest = float(a.nan_to_num(posinf=0.0, neginf=0.0).abs().max()) if a.numel() else 0.0
    return torch.allclose(a, b, rtol=0.0, atol=TOLERANCE.get(a.dtype, 1e-3) * max(largest, 1e-6), equal_nan=True)


def _by(a: Any, b: Any) -> str:
    if torch.is_tensor(a) and torch.is_tensor(b) and a.shape == b.shape and a.is_floating_point():
        return f" by up to {(a - b).abs().max():.3g}"
    return ""
