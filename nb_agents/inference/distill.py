"""Distillation: a student that infers from the last transitions the k's that its teacher computes from the context.

The student acts, the teacher labels what the student has seen (DAgger; Ross, Gordon & Bagnell 2011), and the student is
regressed to the labels of all rounds, each k in units of its own spread.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import ConstantSchedule, safe_mean
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._checks import check_count, check_flag, check_number, check_positive
from nb_agents._progress import progress
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.distillation import Distillation, Settings
from nb_agents.inference.encoder import EncoderOf, HistoryEncoder, encoder_class
from nb_agents.inference.normalization import normalization
from nb_agents.inference.student import StudentPolicy
from nb_agents.inference.teaching import bare_space, begun_anew, check_teacher, environments, held_statistics
from nb_evaluation.files import check_writable


def distill(
    teacher: BaseAlgorithm,
    env: GymEnv | VectorEnv[Any, Any, Any] | None = None,
    total_timesteps: int = 20_000,
    *,
    steps: int = 8,
    units: int = 32,
    encoder: str | type[HistoryEncoder] = "mlp",
    rounds: int = 6,
    n_epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    exploration: float = 0.5,
    changes: float = 0.25,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    logger: Logger | None = None,
    progress_bar: bool = False,
    on_round: Callable[[int, float, StudentPolicy], None] | None = None,
) -> StudentPolicy:
    """A student that acts as the teacher does, without being told the context.

    In the first round the teacher acts, in all others the student; each round begins with new episodes. The context of
    an episode is the environment's: what it draws is what the student learns to tell apart. A teacher whose own
    environments these are begins with a reset of them when it goes on learning.

    Args:
        teacher: SB3 model whose policy has ``k_from``, a part of the observation that is not there for the student.
        env: Environments that show what the teacher observes, or one as Gymnasium makes it; None for the teacher's
            own. Those without a
            `VecNormalize` are seen through the teacher's, if it has one that standardises observations; its statistics
            are held, and become a part of the student, which takes raw observations.
        total_timesteps: Steps of the environments that are labelled, all of them together.
        steps: Number of transitions that the student looks back.
        units: Hidden units of its encoder.
        encoder: Kind of the encoder: "mlp", an MLP on each transition and a weighted mean, or "gru"; or a subclass of
            `nb_agents.inference.encoder.HistoryEncoder`.
        rounds: Number of rounds, of equal length.
        n_epochs: Passes over all labels after each round.
        batch_size: Labels per gradient step.
        learning_rate: Adam's, constant.
        exploration: Share of random actions in the first round, in [0, 1].
        changes: Share of the histories that are trained on as if the world had changed within them, in [0, 1]: their
            older transitions are replaced by those of another episode.
        seed: Seed of the student's weights and of all that is drawn here.
        checkpoint: File that is written after each round. If it is there already, the distillation goes on from it and
            ends as if it had not been interrupted, to the last bit where the environments are functions of their seeds.
        logger: SB3 logger for ``train/k_loss``, ``rollout/ep_rew_mean`` and ``time/total_timesteps`` of each round;
            None for one that prints where the teacher is verbose.
        progress_bar: Whether tqdm's bar is shown, as SB3's own is.
        on_round: Function of the round's number, the mean squared error, and the student; called after each round.

    Returns:
        The student, in evaluation mode, on the teacher's device.

    Raises:
        ImportError: If the progress bar's packages are missing.
        OSError: If the checkpoint cannot be read or written.
        TypeError: If an argument is not of its kind.
        ValueError: If the teacher's k's are not computed, the environments show something else than it observes or
            standardise it otherwise, an argument is out of its range, or the checkpoint is damaged or of another
            distillation.

    Warns:
        UserWarning: If the teacher's k's were the same all the time, as where the context never changes.
    """
    kind = encoder_class(encoder)
    if on_round is not None and not callable(on_round):
        raise TypeError(f"on_round must be a function (number, error, student) or None, got {on_round!r}")
    worlds = environments(teacher, env)
    shown = _logger(teacher, logger)
    per_round = check_count("total_timesteps", total_timesteps) // (check_count("rounds", rounds) * worlds.num_envs)
    if per_round < 1:
        raise ValueError(
            f"total_timesteps must be at least one step in each of {worlds.num_envs} environments and {rounds} rounds,"
            f" got {total_timesteps}"
        )
    settings = Settings(
        steps=check_count("steps", steps),
        units=check_count("units", units),
        encoder=f"{kind.__module__}.{kind.__qualname__}",
        rounds=rounds,
        steps_per_round=per_round,
        n_epochs=check_count("n_epochs", n_epochs),
        batch_size=check_count("batch_size", batch_size),
        learning_rate=check_positive("learning_rate", learning_rate),
        exploration=check_number("exploration", exploration, low=0.0, high=1.0),
        changes=check_number("changes", changes, low=0.0, high=1.0),
        seed=check_count("seed", seed, low=0),
    )
    show = check_flag("progress_bar", progress_bar)
    with torch.random.fork_rng(devices=[]), held_statistics(worlds), begun_anew(teacher, worlds):
        torch.manual_seed(seed)
        run = Distillation(teacher, make_student(teacher, steps, units, encoder, worlds), worlds, settings)
        if checkpoint is not None:
            check_writable(Path(checkpoint).absolute().parent)
            if Path(checkpoint).exists():
                run.read(checkpoint)
        _rounds(run, checkpoint, shown, show, on_round)
    if run.all_alike():
        warnings.warn(
            f"the teacher's k's were the same in all {run.num_timesteps} steps: if the context of env never changes, "
            "the student has learned to tell nothing apart",
            stacklevel=2,
        )
    run.student.set_training_mode(False)
    return run.student


def _rounds(
    run: Distillation, checkpoint: Any, logger: Logger, show: bool, on_round: Callable[..., None] | None
) -> None:
    worlds, settings = run.env.num_envs, run.settings
    total = settings.rounds * settings.steps_per_round * worlds
    with progress(show, total, run.num_timesteps, worlds) as on_step:
        while run.done < settings.rounds:
            loss = run.round(on_step)
            if checkpoint is not None:
                run.write(checkpoint)
            for name, values in zip(("rew", "len"), zip(*run.episodes, strict=True), strict=False):
                logger.record(f"rollout/ep_{name}_mean", safe_mean(list(values)))
            logger.record("train/k_loss", loss)
            logger.record("time/iterations", run.done, exclude="tensorboard")
            logger.record("time/total_timesteps", run.num_timesteps, exclude="tensorboard")
            logger.dump(step=run.num_timesteps)
            if on_round is not None:
                on_round(run.done - 1, loss, run.student)


def _logger(teacher: BaseAlgorithm, logger: Logger | None) -> Logger:
    if logger is None:
        # With no folder: SB3's configure would make one.
        return Logger(None, [HumanOutputFormat(sys.stdout)] if teacher.verbose > 0 else [])
    if not isinstance(logger, Logger):
        raise TypeError(f"logger must be a Logger of stable_baselines3.common.logger or None, got {logger!r}")
    return logger


def make_student(
    teacher: BaseAlgorithm,
    steps: int,
    units: int = 32,
    encoder: str | type[HistoryEncoder] = "mlp",
    env: VecEnv | None = None,
) -> StudentPolicy:
    """A student with the teacher's layers, and an encoder that has learned nothing.

    Args:
        teacher: See `distill`.
        steps: Number of transitions that it looks back.
        units: Hidden units of the encoder.
        encoder: Kind of the encoder, see `distill`.
        env: Environments through whose `VecNormalize` the teacher observes; None for its own.

    Raises:
        ValueError: If the teacher's k's are not computed, or it observes more than a flat observation beside.
    """
    policy = check_teacher(teacher)
    bare = bare_space(policy)
    normalize = normalization(teacher.get_env() if env is None else env, policy.k_from)
    if normalize is not None and normalize.mean.shape != bare.shape:
        raise ValueError(f"the VecNormalize of env must standardise {bare}, what stands around it included; "
                         f"its statistics have the shape {tuple(normalize.mean.shape)}")  # fmt: skip
    arguments = policy._get_constructor_parameters()
    kwargs = {name: value for name, value in arguments.items() if name not in ("observation_space", "action_space")}
    n_numbers = 2 * bare.shape[0] + spaces.flatdim(policy.action_space)
    kwargs |= {"k_from": "history", "k_net": EncoderOf(steps, units, encoder, n_numbers)}
    kwargs |= {"task_difficulty": policy.task_difficulty}
    if "lr_schedule" in kwargs:
        kwargs["lr_schedule"] = ConstantSchedule(0.0)  # SB3's own would keep the teacher alive
    student = StudentPolicy(bare, policy.action_space, type(policy), kwargs, normalize).to(teacher.device)
    known, own = policy.state_dict(), student.network.state_dict()
    inputs = [
        (net.main.tolist(), len(net.main) + len(net.given)) for net in (next(conditioned_nets(policy)), student.net)
    ]
    for name, value in own.items():
        if name in known and ".k_net." not in name:
            value.copy_(known[name] if known[name].shape == value.shape else _columns(known[name], value, *inputs))
    return student


def _columns(known: Any, own: Any, teacher: tuple[list[int], int], student: tuple[list[int], int]) -> Any:
    """Weights of a layer of the critic, which reads all features, without those of the context: as if it were 0."""
    behind = known.shape[-1] - teacher[1]  # inputs beside the features, as the action
    taken, places = ([*main, *range(width, width + behind)] for main, width in (teacher, student))
    weights = torch.zeros_like(own) if own.dim() == 2 else own.clone()  # a vector: CrossQ normalises the inputs
    weights[..., places] = known[..., taken]
    return weights
