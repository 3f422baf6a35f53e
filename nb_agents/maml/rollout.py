"""Whole episodes of all tasks from one vector environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from nb_agents.maml.actor import StackedActor


@dataclass(frozen=True)
class Rollout:
    """Episodes of each task, padded to the longest; E episodes per task, T steps.

    Attributes:
        observations: Observations as the actor takes them, shape ``(tasks, E, T, n_features)``.
        final_observations: Observation that each episode's last step led to, shape ``(tasks, E, n_features)``.
        actions: Actions as sampled, before clipping to the action space, shape ``(tasks, E, T, *action_shape)``.
        outputs: The acting distributions' parameters, shape ``(tasks, E, T, n_outputs)``.
        rewards: Rewards, shape ``(tasks, E, T)``, 0 behind an episode's end.
        mask: Mask, 1 at the steps of the episode and 0 behind its end, shape ``(tasks, E, T)``.
        terminated: Whether each episode ended in a terminal state rather than by truncation, shape ``(tasks, E)``.
    """

    observations: torch.Tensor
    final_observations: torch.Tensor
    actions: torch.Tensor
    outputs: torch.Tensor
    rewards: torch.Tensor
    mask: torch.Tensor
    terminated: torch.Tensor

    @property
    def returns(self) -> NDArray[np.float64]:
        """Undiscounted return of each episode, shape ``(tasks, E)``."""
        return self.rewards.sum(dim=2).double().cpu().numpy()

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each episode, shape ``(tasks, E)``."""
        return self.mask.sum(dim=2).long().cpu().numpy()


class Stopped(Exception):  # noqa: N818 - not an error: a callback asked to end the training
    """Raised out of `roll_out` when ``on_step`` returns False."""


def roll_out(
    env: VectorEnv[Any, Any, Any],
    actor: StackedActor,
    params: torch.Tensor,
    *,
    seed: int | None = None,
    on_step: Callable[[int], bool] | None = None,
) -> Rollout:
    """Run one episode in each environment, every task acting with its own parameters.

    Args:
        env: ``tasks × E`` environments, those of a task next to each other; time-limited, or the episodes never end.
        actor: Actor that evaluates the parameters.
        params: Stacked parameters, shape ``(tasks, n_params)``.
        seed: Seed of the environments' first reset, None to go on with their generators.
        on_step: Function called after each step with the number of environments that were still in their episode.

    Raises:
        FloatingPointError: If an observation, a reward or an action is not finite.
        Stopped: If ``on_step`` returned False.
    """
    tasks = params.shape[0]
    clip = env.single_action_space if isinstance(env.single_action_space, spaces.Box) else None
    same_step = env.metadata.get("autoreset_mode") is AutoresetMode.SAME_STEP
    steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    rewards: list[NDArray[Any]] = []
    alive: list[NDArray[np.bool_]] = []
    running = np.ones(env.num_envs, dtype=bool)
    terminal = np.zeros(env.num_envs, dtype=bool)
    act = actor.acting(params)
    observation, _ = env.reset(seed=seed)
    final = np.array(observation)
    with torch.no_grad():
        while running.any():
            _check_finite("observations", observation, running, tasks)
            features = _features(actor, observation, tasks)
            outputs = act(features)
            _check_finite("actions", outputs.cpu(), running, tasks)
            actions = actor.sample(outputs)
            steps.append((features, actions, outputs))
            flat = actions.cpu().numpy().reshape(-1, *(env.single_action_space.shape or ()))
            observation, reward, terminated, truncated, info = env.step(
                np.clip(flat, clip.low, clip.high) if clip is not None else flat
            )
            _check_finite("rewards", reward, running, tasks)
            rewards.append(np.where(running, reward, 0.0))
            alive.append(running)
            ended = running & (terminated | truncated)
            if ended.any():
                # Before any automatic reset.
                last = np.stack(info["final_obs"][ended]) if same_step else observation[ended]
                final[ended] = last
                terminal |= ended & terminated
                _check_finite("observations", final, ended, tasks)
            if on_step is not None and not on_step(int(running.sum())):
                raise Stopped
            running = running & ~ended
    shape = (tasks, env.num_envs // tasks)
    stacked = [torch.stack(parts, dim=2) for parts in zip(*steps, strict=True)]
    return Rollout(
        observations=stacked[0],
        final_observations=_features(actor, final, tasks),
        actions=stacked[1],
        outputs=stacked[2],
        rewards=_tensor(np.stack(rewards, axis=1), actor).reshape(*shape, -1),
        mask=_tensor(np.stack(alive, axis=1), actor).reshape(*shape, -1),
        terminated=torch.as_tensor(terminal, device=actor.device).reshape(shape),
    )


def _features(actor: StackedActor, observation: NDArray[Any], tasks: int) -> torch.Tensor:
    # A copy: the environment may write into its buffer again.
    flat = actor.preprocess(torch.tensor(observation, device=actor.device))
    return flat.reshape(tasks, -1, flat.shape[1])


def _tensor(array: NDArray[Any], actor: StackedActor) -> torch.Tensor:
    return torch.as_tensor(array, device=actor.device).to(actor.dtype)


def _check_finite(name: str, values: Any, running: NDArray[np.bool_], tasks: int) -> None:
    """Refuse a NaN or infinity of an environment that is in its episode; ``values`` have one row for each."""
    rows = np.asarray(values).reshape(len(running), -1)
    bad = ~np.isfinite(rows).all(axis=1) & running
    if bad.any():
        task, episode = divmod(int(bad.argmax()), len(running) // tasks)
        raise FloatingPointError(
            f"{name} must be finite, got a NaN or infinity in task {task}, episode {episode}; nothing was updated "
            "(if the environment is sound, a smaller inner_lr may help)"
        )
