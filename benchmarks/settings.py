"""The training settings, in one place; all methods share those of their algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv


def _observe() -> dict[str, float]:
    return {"theta": 0.3, "theta_dot": 1.0, "sin_drive": 1.0, "cos_drive": 1.0}


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """PPO's settings, and how it sees the environment; the defaults were chosen by `benchmarks.tune`.

    Attributes:
        frame_skip: physics steps per decision.
        observe: channels of the observation, each with the size that the network sees as 1. The sizes are those at
            which control happens: scaled by its running deviation, which is that of the falls at the start of the
            training, θ would be too small to see once the pendulum is held.
        num_envs: environments that collect side by side.
        n_steps: decisions per environment and rollout.
        batch_size: transitions per gradient step.
        n_epochs: passes over a rollout.
        learning_rate: Adam's, constant.
        gamma: discount per decision.
        gae_lambda: trade-off of the advantage estimate.
        clip_range: of the likelihood ratio.
        ent_coef: weight of the entropy bonus.
        max_grad_norm: at which the gradient is clipped.
        log_std_init: logarithm of the exploration's standard deviation in an untrained policy.
        net_arch: hidden units of actor and critic, layer by layer.
    """

    frame_skip: int = 20
    observe: Mapping[str, float] = field(default_factory=_observe)
    num_envs: int = 2
    n_steps: int = 50
    batch_size: int = 50
    n_epochs: int = 20
    learning_rate: float = 1.1e-3
    gamma: float = 0.8
    gae_lambda: float = 0.8
    clip_range: float = 0.2
    ent_coef: float = 0.0
    max_grad_norm: float = 1.0
    log_std_init: float = 0.0
    net_arch: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "net_arch", tuple(self.net_arch))  # JSON knows lists only

    def check_budget(self, name: str, physics_steps: int) -> None:
        """Refuse a budget that PPO, which trains on whole rollouts, would overrun.

        Raises:
            ValueError: `physics_steps` is not a multiple of a rollout's.
        """
        rollout = self.num_envs * self.n_steps * self.frame_skip
        if physics_steps % rollout:
            raise ValueError(
                f"{name} is a budget of {physics_steps:,} physics steps, but PPO's rollouts take {rollout:,} each:"
                f" choose a multiple"
            )

    def build(
        self, policy: str | type[BasePolicy], env: VecEnv, policy_kwargs: dict[str, Any], seed: int
    ) -> BaseAlgorithm:
        """The algorithm, ready to learn, on the CPU."""
        return PPO(
            policy,  # type: ignore[arg-type]
            env,
            n_steps=self.n_steps,
            batch_size=self.batch_size,
            n_epochs=self.n_epochs,
            learning_rate=self.learning_rate,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            clip_range=self.clip_range,
            ent_coef=self.ent_coef,
            max_grad_norm=self.max_grad_norm,
            policy_kwargs={"net_arch": list(self.net_arch), "log_std_init": self.log_std_init} | policy_kwargs,
            seed=seed,
            device="cpu",
        )


AlgorithmSettings = PPOSettings  # a union, once another algorithm joins
ALGORITHMS: dict[str, type[AlgorithmSettings]] = {"ppo": PPOSettings}
