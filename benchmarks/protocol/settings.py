"""The training settings, in one place; all methods share those of their algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

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
        algorithm: Name of the class in SB3.
        frame_skip: Physics steps per decision.
        observe: Channels of the observation, each with the size that the network sees as 1. The sizes are those at
            which control happens: scaled by its running deviation, which is that of the falls at the start of the
            training, θ would be too small to see once the pendulum is held.
        num_envs: Number of environments that collect side by side.
        gamma: Discount per decision.
        learning_rate: Learning rate of Adam, constant.
        batch_size: Transitions per gradient step.
        net_arch: Hidden units of actor and critic, layer by layer.
    """

    algorithm: ClassVar[str]

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
        """Refuse a budget that the algorithm, which collects a fixed number of steps at a time, would overrun.

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
        """The algorithm, ready to learn, on the CPU; `policy_kwargs` come on top of the settings'."""
        import stable_baselines3

        own = self.arguments()
        policy_kwargs = own.pop("policy_kwargs") | policy_kwargs
        algorithm: type[BaseAlgorithm] = getattr(stable_baselines3, self.algorithm)
        return algorithm(policy, env, policy_kwargs=policy_kwargs, seed=seed, device="cpu", **own)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the algorithm's class: all fields but those that decide the environment."""
        names = (each.name for each in fields(self) if each.name not in ("frame_skip", "observe", "num_envs"))
        own = {name: getattr(self, name) for name in names}
        policy_kwargs = {"net_arch": list(own.pop("net_arch"))}
        policy_kwargs |= {name: own.pop(name) for name in ("log_std_init",) if name in own}
        return own | {"policy_kwargs": policy_kwargs}


@dataclass(frozen=True, kw_only=True)
class PPOSettings(Settings):
    """PPO's settings; the defaults were chosen by `python -m benchmarks tune`.

    Attributes:
        n_steps: Decisions per environment and rollout.
        n_epochs: Passes over a rollout.
        gae_lambda: Trade-off of the advantage estimate.
        clip_range: Range that the likelihood ratio is clipped to, around 1.
        ent_coef: Weight of the entropy bonus.
        max_grad_norm: Norm at which the gradient is clipped.
        log_std_init: Logarithm of the exploration's standard deviation in an untrained policy.
    """

    algorithm: ClassVar[str] = "PPO"

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


@dataclass(frozen=True, kw_only=True)
class SACSettings(Settings):
    """SAC's settings; the defaults were chosen by `python -m benchmarks tune`.

    Attributes:
        train_freq: Decisions per environment between updates.
        gradient_steps: Number of updates at a time.
        learning_starts: Decisions with random actions at the very beginning.
        tau: Rate at which the target networks follow.
        ent_coef: Entropy coefficient; SB3's "auto_0.1" is learned from 0.1 on.
    """

    algorithm: ClassVar[str] = "SAC"

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

    def arguments(self) -> dict[str, Any]:
        """See `Settings.arguments`; the buffer holds every transition of a published budget."""
        return super().arguments() | {"buffer_size": 50_000}


AlgorithmSettings: TypeAlias = PPOSettings | SACSettings
ALGORITHMS: dict[str, type[PPOSettings] | type[SACSettings]] = {"ppo": PPOSettings, "sac": SACSettings}


@dataclass(frozen=True, kw_only=True)
class MetaSettings:
    """What a meta-learner adds to PPO's settings, which decide network, discount and view of the environment.

    Attributes:
        inner_steps: Gradient steps of an adaptation; the paper's 5.
        inner_lr: Step size of the inner steps.
        tasks_per_iteration: Number of tasks of a meta-iteration.
        episodes_per_task: Episodes of each task for each gradient step of the pretraining.
        adapt_episodes: Episodes for each gradient step of the transfer.
        outer: Outer update, one of `OUTER_UPDATES`; Reptile has its own.
        max_kl: Trust region of TRPO.
        n_epochs: Gradient steps of PPO in a meta-iteration.
        learning_rate: Step size of PPO.
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
