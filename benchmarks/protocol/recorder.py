"""What is measured along a run: the deterministic policy every few episodes, and every training episode's return."""

from __future__ import annotations

from typing import TypeVar

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from benchmarks.protocol.environments import Evaluation, Evaluator
from benchmarks.protocol.results import Curve
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec

Model = TypeVar("Model", bound=BaseAlgorithm)


def without_log_folder(model: Model) -> Model:
    """The model, with a logger that writes nothing: SB3's own leaves an empty folder in the temporary one."""
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


class Recorder(BaseCallback):
    """Evaluates the policy every `eval_every` episodes, between updates, and keeps the training episodes' returns.

    The evaluations run in an environment of their own; their steps count towards no budget.

    Args:
        spec: Specification of the run.
        follow: Whether to evaluate during a training, too, and not only when asked to.
    """

    def __init__(self, spec: RunSpec, *, follow: bool = True) -> None:
        super().__init__()
        self.evaluator = Evaluator(spec)
        self.frame_skip = spec.settings.frame_skip
        self.interval = spec.eval_every * EPISODE_STEPS
        self.follow = follow
        self.curve = Curve()
        self.episodes: list[float] = []

    def train(self, model: BaseAlgorithm, episodes: int) -> None:
        """Spend a budget, counted on top of what the model has spent before."""
        decisions = episodes * EPISODE_STEPS // self.frame_skip
        without_log_folder(model).learn(decisions, callback=self, reset_num_timesteps=False)

    def evaluate(self, model: BaseAlgorithm) -> Evaluation:
        """Measure the policy as it is; a number of steps enters the curve once."""
        evaluation = self.evaluator(model.policy)
        steps = model.num_timesteps * self.frame_skip
        if not self.curve.steps or steps > self.curve.steps[-1]:
            self.curve.steps.append(steps)
            self.curve.source.append(evaluation.source)
            self.curve.target.append(evaluation.target)
        return evaluation

    def evaluate_if_due(self, model: BaseAlgorithm) -> None:
        """Measure the policy if the training is followed and the last evaluation is an interval away."""
        steps = model.num_timesteps * self.frame_skip
        if self.follow and (not self.curve.steps or steps // self.interval > self.curve.steps[-1] // self.interval):
            self.evaluate(model)

    def _on_rollout_start(self) -> None:
        self.evaluate_if_due(self.model)

    def _on_step(self) -> bool:
        infos = self.locals.get("infos", ())  # meta-learners count their episodes themselves
        self.episodes += [float(info["episode"]["r"]) for info in infos if "episode" in info]
        return True
