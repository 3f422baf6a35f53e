"""The training settings, in one place; all methods share those of their algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # SB3 takes seconds to import, and is not needed to read results
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy
    from stable_baselines3.common.vec_env import VecEnv


def _observe(theta_dot: float = 1.0) -> dict[str, float]:
    return {"theta": 0.3, "theta_dot": theta_dot, "sin_drive": 1.0, "cos_drive": 1.0}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the algorithms' settings have in common: how a policy sees the environment.

    Attributes:
        frame_skip: physics steps per decision.
        observe: channels of the observation, each with the size that the network sees as 1. The sizes are those at
            which control happens: scaled by its running deviation, which is that of the falls at the start of the
            training, θ would be too small to see once the pendulum is held.
        num_envs: environments that collect side by side.
        gamma: discount per decision.
        learning_rate: Adam's, constant.
        batch_size: transitions per gradient step.
        net_arch: hidden units of actor and critic, layer by layer.
    """

    frame_skip: int = 20
    observe: Mapping[str, float] = field(default_factory=_observe)
    num_envs: int = 2
    gamma: float = 0.8
    learning_rate: float = 1.1e-3
    batch_size: int = 50
    net_arch: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "net_arch", tuple(self.net_arch))  # JSON knows lists only

    @property
    def steps_between_updates(self) -> int:
        """Physics steps that are collected at a time."""
        raise NotImplementedError

    def check_budget(self, name: str, physics_steps: int) -> None:
        """Refuse a budget that the algorithm, which collects so many steps at a time, would overrun.

        Raises:
            ValueError: `physics_steps` is not a multiple of `steps_between_updates`.
        """
        if physics_steps % self.steps_between_updates:
            raise ValueError(
                f"{name} is a budget of {physics_steps:,} physics steps, but {self.steps_between_updates:,} are"
                f" collected at a time: choose a multiple"
            )

    def build(
        self, policy: str | type[BasePolicy], env: VecEnv, policy_kwargs: dict[str, Any], seed: int
    ) -> BaseAlgorithm:
        """The algorithm, ready to learn, on the CPU."""
        raise NotImplementedError

    def _shared(self, seed: int) -> dict[str, Any]:
        names = ("gamma", "learning_rate", "batch_size")
        return {name: getattr(self, name) for name in names} | {"seed": seed, "device": "cpu"}


@dataclass(frozen=True, kw_only=True)
class PPOSettings(Settings):
    """PPO's settings; the defaults were chosen by `benchmarks.tune`.

    Attributes:
        n_steps: decisions per environment and rollout.
        n_epochs: passes over a rollout.
        gae_lambda: trade-off of the advantage estimate.
        clip_range: of the likelihood ratio.
        ent_coef: weight of the entropy bonus.
        max_grad_norm: at which the gradient is clipped.
        log_std_init: logarithm of the exploration's standard deviation in an untrained policy.
    """

    n_steps: int = 50
    n_epochs: int = 20
    gae_lambda: float = 0.8
    clip_range: float = 0.2
    ent_coef: float = 0.0
    max_grad_norm: float = 1.0
    log_std_init: float = 0.0

    @property
    def steps_between_updates(self) -> int:
        """Physics steps of a rollout."""
        return self.num_envs * self.n_steps * self.frame_skip

    def build(
        self, policy: str | type[BasePolicy], env: VecEnv, policy_kwargs: dict[str, Any], seed: int
    ) -> BaseAlgorithm:
        """The algorithm, ready to learn, on the CPU."""
        from stable_baselines3 import PPO

        own = ("n_steps", "n_epochs", "gae_lambda", "clip_range", "ent_coef", "max_grad_norm")
        return PPO(
            policy,  # type: ignore[arg-type]
            env,
            **{name: getattr(self, name) for name in own},
            policy_kwargs={"net_arch": list(self.net_arch), "log_std_init": self.log_std_init} | policy_kwargs,
            **self._shared(seed),
        )


@dataclass(frozen=True, kw_only=True)
class SACSettings(Settings):
    """SAC's settings; the defaults were chosen by `benchmarks.tune`.

    Attributes:
        observe: see `Settings`.
        gamma: see `Settings`.
        learning_rate: see `Settings`.
        batch_size: see `Settings`.
        train_freq: decisions per environment between updates.
        gradient_steps: updates after each.
        learning_starts: decisions with random actions at the very beginning.
        tau: rate at which the target networks follow.
        ent_coef: the entropy coefficient; SB3's "auto_0.1" is learned from 0.1 on.
    """

    observe: Mapping[str, float] = field(default_factory=partial(_observe, theta_dot=0.5))
    gamma: float = 0.6
    learning_rate: float = 9e-4
    batch_size: int = 128
    train_freq: int = 5
    gradient_steps: int = 20
    learning_starts: int = 200
    tau: float = 0.02
    ent_coef: str = "auto_0.1"

    @property
    def steps_between_updates(self) -> int:
        """Physics steps between updates."""
        return self.num_envs * self.train_freq * self.frame_skip

    def build(
        self, policy: str | type[BasePolicy], env: VecEnv, policy_kwargs: dict[str, Any], seed: int
    ) -> BaseAlgorithm:
        """The algorithm, ready to learn, on the CPU; its buffer holds every transition of a published budget."""
        from stable_baselines3 import SAC

        own = ("train_freq", "gradient_steps", "learning_starts", "tau", "ent_coef")
        return SAC(
            policy,  # type: ignore[arg-type]
            env,
            **{name: getattr(self, name) for name in own},
            buffer_size=50_000,
            policy_kwargs={"net_arch": list(self.net_arch)} | policy_kwargs,
            **self._shared(seed),
        )


AlgorithmSettings: TypeAlias = PPOSettings | SACSettings
ALGORITHMS: dict[str, type[PPOSettings] | type[SACSettings]] = {"ppo": PPOSettings, "sac": SACSettings}


@dataclass(frozen=True, kw_only=True)
class MetaSettings:
    """What a meta-learner adds to PPO's settings, which decide network, discount and view of the environment.

    Attributes:
        inner_steps: gradient steps of an adaptation; the paper's 5.
        inner_lr: their step size.
        tasks_per_iteration: tasks of a meta-iteration.
        episodes_per_task: episodes of each task for each gradient step of the pretraining.
        adapt_episodes: episodes for each gradient step of the transfer.
        outer: the outer update, a key of `OUTER_UPDATES`; Reptile has its own.
        max_kl: TRPO's trust region.
        n_epochs: PPO's gradient steps of a meta-iteration.
        learning_rate: their step size.
    """

    inner_steps: int = 5
    inner_lr: float = 0.1
    tasks_per_iteration: int = 1
    episodes_per_task: int = 1
    adapt_episodes: int = 2
    outer: str = "trpo"
    max_kl: float = 0.02
    n_epochs: int = 10
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.outer not in OUTER_UPDATES:
            raise ValueError(f"outer must be one of {', '.join(OUTER_UPDATES)}; got {self.outer!r}")


OUTER_UPDATES = ("trpo", "ppo")
