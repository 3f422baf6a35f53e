"""Distillation: a student that infers from the last transitions the k's that its teacher computes from the context.

The student acts, the teacher labels what the student has seen (DAgger; Ross, Gordon & Bagnell 2011), and the student is
regressed to the labels of all rounds, each k in units of its own spread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._checks import check_count, check_number, check_positive
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.encoder import EncoderOf
from nb_agents.inference.fixed import without_part
from nb_agents.inference.student import StudentPolicy
from nb_agents.inference.window import Floats, flat_actions
from nb_agents.vec_env.adapter import VectorEnvAdapter


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """How a student is trained, see `distill`."""

    steps: int
    units: int
    rounds: int
    n_epochs: int
    batch_size: int
    learning_rate: float
    exploration: float
    changes: float


def distill(
    teacher: BaseAlgorithm,
    env: VecEnv | VectorEnv[Any, Any, Any] | None = None,
    total_timesteps: int = 20_000,
    *,
    steps: int = 8,
    units: int = 64,
    rounds: int = 6,
    n_epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    exploration: float = 0.5,
    changes: float = 0.25,
    seed: int = 0,
    on_round: Callable[[int, float, StudentPolicy], None] | None = None,
) -> StudentPolicy:
    """A student that acts as the teacher does, without being told the context.

    In the first round the teacher acts, in all others the student. The context of an episode is the environment's: what
    it draws is what the student learns to tell apart.

    Args:
        teacher: SB3 model whose policy has ``k_from``, a part of the observation that is not there for the student.
        env: Environments as the teacher sees them; None for the teacher's own.
        total_timesteps: Steps of the environments that are labelled, all of them together.
        steps: Number of transitions that the student looks back.
        units: Hidden units of its encoder.
        rounds: Number of rounds, of equal length.
        n_epochs: Passes over all labels after each round.
        batch_size: Labels per gradient step.
        learning_rate: Adam's, constant.
        exploration: Share of random actions in the first round, in [0, 1].
        changes: Share of the histories that are trained on as if the world had changed within them, in [0, 1]: their
            older transitions are replaced by those of another episode.
        seed: Seed of the student's weights and of all that is drawn here.
        on_round: Called after each round with its number, the mean squared error, and the student.

    Returns:
        The student, in evaluation mode, on the teacher's device.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If the teacher's k's are not computed, the environments show something else than it observes, or an
            argument is out of its range.
    """
    settings = _Settings(
        steps=check_count("steps", steps),
        units=check_count("units", units),
        rounds=check_count("rounds", rounds),
        n_epochs=check_count("n_epochs", n_epochs),
        batch_size=check_count("batch_size", batch_size),
        learning_rate=check_positive("learning_rate", learning_rate),
        exploration=check_number("exploration", exploration, low=0.0, high=1.0),
        changes=check_number("changes", changes, low=0.0, high=1.0),
    )
    worlds = _environments(teacher, env)
    per_round = check_count("total_timesteps", total_timesteps) // (rounds * worlds.num_envs)
    if per_round < 1:
        raise ValueError(
            f"total_timesteps must be at least one step in each of {worlds.num_envs} environments and {rounds} rounds,"
            f" got {total_timesteps}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = make_student(teacher, settings.steps, settings.units)
        run = _Distillation(teacher, student, worlds, settings, seed)
        for number in range(rounds):
            run.collect(per_round, teacher_acts=number == 0)
            loss = run.fit()
            if on_round is not None:
                on_round(number, loss, student)
    student.set_training_mode(False)
    return student


def make_student(teacher: BaseAlgorithm, steps: int, units: int = 64) -> StudentPolicy:
    """A student with the teacher's layers, and an encoder that has learned nothing.

    Args:
        teacher: See `distill`.
        steps: Number of transitions that it looks back.
        units: Hidden units of the encoder.

    Raises:
        ValueError: If the teacher's k's are not computed, or it observes more than a flat observation beside.
    """
    policy: Any = teacher.policy
    if getattr(policy, "k_from", None) is None:
        raise ValueError(
            "teacher must have a policy with k_from: its k's are computed from nothing that could be hidden"
        )
    bare = without_part(policy.observation_space, policy.k_from)
    if isinstance(bare, spaces.Dict) and len(bare.spaces) == 1:
        (bare,) = bare.spaces.values()
    if not isinstance(bare, spaces.Box) or len(bare.shape) != 1:
        raise ValueError(f"teacher must observe a Box of one dimension beside {policy.k_from!r}, got {bare}")
    arguments = policy._get_constructor_parameters()
    kwargs = {name: value for name, value in arguments.items() if name not in ("observation_space", "action_space")}
    kwargs |= {"k_from": "history", "k_net": EncoderOf(steps, units), "task_difficulty": policy.task_difficulty}
    if "lr_schedule" in kwargs:
        kwargs["lr_schedule"] = ConstantSchedule(0.0)  # SB3's own would keep the teacher alive
    student = StudentPolicy(bare, policy.action_space, type(policy), kwargs).to(teacher.device)
    known, own = policy.state_dict(), student.network.state_dict()
    fits = {name: known[name] for name, value in own.items() if name in known and known[name].shape == value.shape}
    student.network.load_state_dict(own | {name: value for name, value in fits.items() if ".k_net." not in name})
    return student


def _check_teacher(teacher: BaseAlgorithm) -> Any:
    if getattr(teacher.policy, "k_from", None) is None:
        raise ValueError("teacher must have a policy with k_from: its k's are computed from nothing that is hidden")
    return teacher.policy


def _environments(teacher: BaseAlgorithm, env: Any) -> VecEnv:
    _check_teacher(teacher)
    worlds = teacher.get_env() if env is None else env
    worlds = VectorEnvAdapter(worlds) if isinstance(worlds, VectorEnv) else worlds
    if worlds is None:
        raise ValueError("env must be given: the teacher has none")
    if worlds.observation_space != teacher.observation_space:
        raise ValueError(
            f"env must show what the teacher observes, {teacher.observation_space}; got {worlds.observation_space}"
        )
    return worlds


class _Distillation:
    """A student on its way: the labels so far, and its optimizer."""

    def __init__(
        self, teacher: BaseAlgorithm, student: StudentPolicy, env: VecEnv, settings: _Settings, seed: int
    ) -> None:
        self.teacher, self.student, self.env, self.settings = teacher, student, env, settings
        self.policy: Any = teacher.policy
        self.net = next(conditioned_nets(self.policy))
        self.rng = np.random.default_rng(seed)
        self.histories: list[Floats] = []
        self.labels: list[torch.Tensor] = []
        self.optimizer = torch.optim.Adam(student.encoder.parameters(), settings.learning_rate)
        env.seed(seed)
        env.action_space.seed(seed)
        self.observation: Any = env.reset()
        self.state: Any = None
        self.starts = np.ones(env.num_envs, dtype=bool)

    def collect(self, steps: int, *, teacher_acts: bool) -> None:
        """Let teacher or student act, and label all that is seen."""
        for _ in range(steps):
            bare, given = self._split(self.observation)
            window = self.student.look(bare, self.state, self.starts)
            with torch.no_grad():
                label = self.net.k_sets(torch.as_tensor(given, dtype=torch.float32, device=self.teacher.device))
            self.histories.append(window.rows.reshape(len(bare), -1))
            self.labels.append(label)
            if teacher_acts:
                actions, _ = self.teacher.predict(self.observation, deterministic=True)
                tried = np.array([self.env.action_space.sample() for _ in bare])
                at_random = self.rng.random(len(bare)) < self.settings.exploration
                actions = np.where(at_random.reshape(-1, *[1] * (actions.ndim - 1)), tried, actions)
            else:
                actions, _ = self.student.predict(bare, self.state, self.starts, deterministic=True)
            self.state = window._replace(action=flat_actions(actions, self.env.action_space))
            self.observation, _, self.starts, _ = self.env.step(actions)

    def fit(self) -> float:
        """Regress the student to all labels; the mean squared error of the last pass."""
        encoder, settings = self.student.encoder, self.settings
        histories = torch.as_tensor(np.concatenate(self.histories), device=self.teacher.device)
        labels = torch.cat(self.labels)
        k0 = torch.cat([gate.k for gate in self.student.net.gates]).detach()
        rows = histories.reshape(len(histories), encoder.steps, -1)
        there = rows[:, :, -1] > 0.0
        encoder.mean.copy_(labels.mean(dim=0) - k0)
        encoder.scale.copy_(labels.std(dim=0).clamp(min=1e-6))
        if there.any():
            encoder.width.copy_(rows[there][:, :-1].std(dim=0, correction=0).clamp(min=1e-3))
        wanted = (labels - k0 - encoder.mean) / encoder.scale
        loss = 0.0
        for _ in range(settings.n_epochs):
            errors = []
            order = torch.randperm(len(labels), device=labels.device)
            for index in torch.split(order, settings.batch_size):
                error = (encoder.standardised(self._changed(histories[index])) - wanted[index]).square().mean()
                self.optimizer.zero_grad()
                torch.autograd.backward(error)
                self.optimizer.step()
                errors.append(error.item())
            loss = float(np.mean(errors))
        return loss

    def _changed(self, histories: torch.Tensor) -> torch.Tensor:
        """Histories of which some have older transitions of another episode."""
        steps = self.student.encoder.steps
        rows = histories.reshape(len(histories), steps, -1)
        first = torch.randint(1, steps + 1, (len(rows), 1), device=rows.device)  # the first row of the new world
        first[torch.rand(len(rows), device=rows.device) >= self.settings.changes] = 0
        older = torch.arange(steps, device=rows.device) < first.clamp(max=steps - 1)
        other = rows[torch.randperm(len(rows), device=rows.device)]
        return torch.where(older[:, :, None], other, rows).reshape(len(histories), -1)

    def _split(self, observation: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """What the student sees, and what is hidden from it."""
        name = self.policy.k_from
        if isinstance(observation, dict):
            (bare,) = (value for key, value in observation.items() if key != name)
            return bare, observation[name]
        part = self.policy.observation_space.parts[name]
        return np.delete(observation, part, axis=1), observation[:, part]
