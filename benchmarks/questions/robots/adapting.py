"""A source policy that is moved to another robot with PPO: what of it trains, and what is measured on the way."""

from __future__ import annotations

import copy
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from benchmarks.questions.robots.exporting import exported
from benchmarks.questions.robots.lora import add_lora
from benchmarks.questions.robots.results import Adaptation, RobotsResult, Row
from benchmarks.questions.robots.training import (
    Evaluator,
    Source,
    build_ppo,
    make_robots,
    name_of,
    normalised,
    source,
)
from benchmarks.questions.robots.worlds import EARLY, MARKS, Robot
from nb_agents import Battery, retrofit

SETTINGS: dict[str, Any] = {"n_steps": 100, "batch_size": 500, "learning_rate": 1e-3}
"""What differs from a training of the source: an update for every 2,500 decisions, so ten in the first 25 episodes.

Rate and batch were chosen on seed 0, by fine-tuning and a new policy on two targets, of three pairs.
"""

BLOCKS = {"nb": None, "nb-k": None, "nb-pro": 16, "nb-pro-k": 16, "head": None}
"""Size of the gates' blocks; those of `head` stand still at 1."""

RANKS = {"lora-1": 1, "lora-4": 4}


def adapt(method: str, robot: Robot, width: int, target: str, seed: int, before: int, steps: int) -> RobotsResult:
    """Train a method in a target, from the source policy that it shares with the others of its seed.

    Args:
        method: Name of the method.
        robot: The robot.
        width: Units of a hidden layer.
        target: Name of the target.
        seed: Seed.
        before: Decisions of the source's training.
        steps: Decisions in the target.
    """
    begin = None if method == "scratch" else source(name_of(robot), width, seed, before)
    model, numbers = _begin(method, robot, width, target, seed, begin)
    home = Evaluator(robot, {}, begin.observations) if begin else None
    known = home(model.policy) if home else None
    battery = Battery(model) if method.endswith("-k") else None
    if battery is not None:
        battery.capture("source")
    followed = Followed(Evaluator(robot, robot.targets[target], model.get_env().obs_rms))
    model.learn(steps, callback=followed)
    followed.measure()
    returns = {target: followed.returns[-1]} | ({"source": home(model.policy)} if home else {})
    checks = exported(model) if battery is not None and robot.exported else {}
    if battery is not None:
        battery.apply("source")
    swapped = home(model.policy) if home and battery is not None else None
    row = Row(returns, numbers, begin.steps if begin else 0, model.num_timesteps)
    adaptation = Adaptation(followed.steps, followed.returns, followed.early(), known, swapped)
    return RobotsResult({method: row}, adaptation, checks)


class Followed(BaseCallback):
    """Measures the policy at `MARKS`, between updates, and keeps the return of the first episode of each environment.

    The evaluations run in environments of their own; their steps count towards no budget.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__()
        self._evaluator = evaluator
        self.steps: list[int] = []
        self.returns: list[float] = []
        self._early: dict[int, float] = {}

    def measure(self) -> None:
        """Measure the policy as it is; a number of steps enters the curve once."""
        if self.model.num_timesteps not in self.steps:
            self.steps.append(self.model.num_timesteps)
            self.returns.append(self._evaluator(self.model.policy))

    def early(self) -> list[float]:
        """Returns of the first episode in each environment where it ended."""
        return [self._early[i] for i in sorted(self._early)]

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps in MARKS:
            self.measure()

    def _on_step(self) -> bool:
        for i, info in enumerate(self.locals["infos"]):
            if "episode" in info:
                self._early.setdefault(i, round(float(info["episode"]["r"]), 3))
        return True


def _begin(method: str, robot: Robot, width: int, target: str, seed: int, begin: Source | None) -> tuple[Any, int]:
    """The model as it comes to the target, and how many numbers of its actor will be others when it leaves."""
    env: Any = normalised(make_robots(robot, EARLY, robot.targets[target]))
    model: Any = build_ppo("MlpPolicy", env, seed, width, SETTINGS)
    if begin is not None:
        env.obs_rms, env.ret_rms = copy.deepcopy(begin.observations), copy.deepcopy(begin.returns)
        env.training = False
        model.policy.load_state_dict(begin.state)
    if method in RANKS:
        return model, add_lora(model.policy, RANKS[method])
    if method in BLOCKS:
        model = retrofit(model, BLOCKS[method])
        part = "head" if method == "head" else "gates" if method.endswith("-k") else "all"
        model.policy.train_only(part, log_std=True)
    return model, trained_numbers(model.policy)


def trained_numbers(policy: Any) -> int:
    """Numbers that a deterministic action depends on, and that train."""
    actor = nn.ModuleList([policy.mlp_extractor.policy_net, policy.action_net])
    return sum(parameter.numel() for parameter in actor.parameters() if parameter.requires_grad)
