"""A callback that watches over an adaptation: it keeps what is better, and goes back from what is worse or unsafe."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._checks import check_count, check_number
from nb_agents._objects import uncompiled
from nb_agents.adaptation.evaluation import Evaluation, Infos, Starts, paired_interval
from nb_agents.adaptation.snapshot import Snapshot, optimizers
from nb_agents.battery.battery import Battery
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.target import Environment, as_vec_env, prepare


@dataclass(frozen=True)
class Kept:
    """Numbers that were kept.

    Attributes:
        step: Time step of the training.
        evaluation: What they are worth on the evaluation's starts.
        snapshot: The numbers.
    """

    step: int
    evaluation: Evaluation
    snapshot: Snapshot

    @property
    def name(self) -> str:
        """Name of its k-set in the battery."""
        return f"step {self.step}"


class KeepBest(BaseCallback):
    """Evaluates on the new task, keeps the best numbers, and never leaves the policy worse than it began.

    The deterministic policy is evaluated when training starts and after every ``every`` steps, between two rollouts,
    always from the same starts, so that returns are compared start by start:

    - It is *kept* where it is better than the last one kept: the whole interval of the mean difference is above 0.
    - It is *rolled back* to the last one kept where it is worse, the whole interval below 0, or not safe.
    - Otherwise training goes on.

    When training ends the best goes back into the policy, and is held against the start once more from starts that
    nothing was chosen by; if it is worse there, or not safe, the start goes back. After each step of an optimizer
    numbers that are not finite are replaced by those that were kept last. Where ``learn()`` itself may raise, use the
    callback as a context, which puts the best back then, too::

        with KeepBest(env) as keep:
            model.learn(10_000, callback=keep)
        print(keep)

    What goes back is what trains of the numbers that an action depends on, with what sets the spread of actions and the
    statistics of a `VecNormalize` that move; critics stay as they are. The optimizers forget the moments of what went
    back. It works with any policy of SB3's; `KGatedMixin.train_only` says what trains.

    Names in the logger: ``keep_best/return`` of the policy, ``keep_best/best_return`` of what is kept,
    ``keep_best/cost`` where one is limited, and by then ``keep_best/kept`` and ``keep_best/rolled_back``.

    Attributes:
        kept: What was kept, the start first.
        rolled_back: Time steps at which the policy was rolled back, and why.
        battery: The k-sets that were kept, as "step 0"; None unless the gates alone train and their k's are parameters.
        before: Evaluation of the start, from fresh starts; None until training has ended.
        after: Evaluation of the policy as it was left, from the same.

    Args:
        eval_env: The new task: a Gymnasium environment, a `VectorEnv` or a `VecEnv` that is not the one in which the
            model trains. It is seen through the `VecNormalize` that the model is trained with.
        every: Steps of the training between two evaluations, >= 1.
        episodes: Episodes of each, >= 2.
        confidence: Coverage of the intervals, in (0, 1).
        max_cost: Limit of the mean over episodes of the sum of ``info["cost"]``; None for none.
        unsafe: Function of the infos of each episode, step by step, that returns whether something went wrong.
        seed: Seed of the first start.
        verbose: Verbosity, as in SB3; with 1 each decision is printed.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If a number is out of its range; or when training starts, if the spaces of ``eval_env`` are not the
            model's, it is the model's own, a return of the start is not finite or a cost is missing. Nothing has been
            trained then.
    """

    def __init__(
        self,
        eval_env: Environment,
        every: int = 1_000,
        *,
        episodes: int = 10,
        confidence: float = 0.95,
        max_cost: float | None = None,
        unsafe: Callable[[Infos], bool] | None = None,
        seed: int = 0,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        as_vec_env("eval_env", eval_env)
        if unsafe is not None and not callable(unsafe):
            raise TypeError(f"unsafe must be a function of the episodes' infos or None, got {unsafe!r}")
        self.eval_env, self.unsafe = eval_env, unsafe
        self.every, self.episodes = check_count("every", every), check_count("episodes", episodes, 2)
        self.seed = check_count("seed", seed, low=0)
        self.confidence = check_number("confidence", confidence, low=0.0, high=1.0)
        if self.confidence in (0.0, 1.0):
            raise ValueError(f"confidence must be in (0, 1), got {confidence!r}")
        self.max_cost = None if max_cost is None else check_number("max_cost", max_cost)
        self.kept, self.rolled_back = list[Kept](), list[tuple[int, str]]()
        self.battery: Battery | None = None
        self.before: Evaluation | None = None
        self.after: Evaluation | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> KeepBest:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._hooks:  # training has not come to its end
            self._end()

    @property
    def best(self) -> Kept:
        """What was kept last."""
        return self.kept[-1]

    def _init_callback(self) -> None:
        env = prepare("eval_env", self.eval_env, self.model, frozen=True, same_number=False)
        if self.model.env is not None and _same(env, self.model.env):
            raise ValueError("eval_env must be another environment than the one in which the model trains: an "
                             "evaluation would end the episodes that it learns from")  # fmt: skip
        self._starts = Starts(env, self.episodes, self.seed, self.max_cost, self.unsafe)

    def _on_training_start(self) -> None:
        start = self._starts.evaluate(self.model)
        if not np.isfinite(start.returns).all():
            raise ValueError(f"eval_env must give finite returns before the training, got {start.returns.tolist()}")
        if not start.safe:
            warnings.warn("the policy is not safe in eval_env before it trains: what is safe and no worse will be kept",
                          stacklevel=2)  # fmt: skip
        policy: Any = uncompiled(self.model.policy)
        alone = getattr(policy, "trains", None) == "gates" and not any(conditioned_nets(policy))
        self.battery = Battery(policy) if alone else None
        self.kept, self.rolled_back, self.before, self.after = [], [], None, None
        self._keep(start)
        self._last = self.num_timesteps
        self._hooks = [each.register_step_post_hook(self._after_step) for each in optimizers(self.model)]

    def _on_rollout_start(self) -> None:
        # Between two rollouts: within one, the actions have to be those of one policy.
        if self.num_timesteps - self._last >= self.every:
            self._judge()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if self.num_timesteps > self._last:
            self._judge()
        self._end()

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self.best.snapshot.repair(optimizer):
            self._note("numbers that were not finite")

    def _judge(self) -> None:
        self._last = self.num_timesteps
        now, best = self._starts.evaluate(self.model), self.best.evaluation
        low, high = paired_interval(now.returns, best.returns, self.confidence)
        if not now.safe:
            self._go_back(f"not safe, cost {now.cost:,.4g}" if now.cost is not None else "not safe")
        elif high < 0.0:
            self._go_back(f"return {now.mean:,.1f}, {high:+,.1f} at most to {best.mean:,.1f}")
        elif low > 0.0 or not best.safe:
            self._keep(now)
        self.logger.record("keep_best/return", now.mean)
        self.logger.record("keep_best/best_return", self.best.evaluation.mean)
        if now.cost is not None:
            self.logger.record("keep_best/cost", now.cost)
        self.logger.record("keep_best/kept", len(self.kept))
        self.logger.record("keep_best/rolled_back", len(self.rolled_back))

    def _keep(self, evaluation: Evaluation) -> None:
        self.kept.append(Kept(self.num_timesteps, evaluation, Snapshot(self.model)))
        if self.battery is not None:
            notes = {"return": evaluation.mean, "cost": evaluation.cost, "safe": evaluation.safe}
            self.battery.capture(self.best.name, notes)
        self._say(f"kept at step {self.best.step}: return {evaluation.mean:,.1f}")

    def _go_back(self, reason: str) -> None:
        self.best.snapshot.restore(self.model)
        self._note(reason)

    def _note(self, reason: str) -> None:
        entry = self.num_timesteps, reason
        if entry not in self.rolled_back[-1:]:  # an update of many steps may blow up in each of them
            self.rolled_back.append(entry)
            self._say(f"rolled back at step {self.num_timesteps} to {self.best.name}: {reason}")

    def _end(self) -> None:
        """Leave the best in the policy, or the start if the best is worse where nothing was chosen by."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        start, best = self.kept[0], self.best
        moved = not best.snapshot.holds()
        start.snapshot.restore(self.model, forget=False)
        self.before = self.after = self._starts.evaluate(self.model, fresh=True)
        best.snapshot.restore(self.model, forget=moved)
        if best is start:
            return
        after = self._starts.evaluate(self.model, fresh=True)
        worse = paired_interval(after.returns, self.before.returns, self.confidence)[1] < 0.0
        if worse or (self.before.safe and not after.safe):
            start.snapshot.restore(self.model)
            self._note(f"return {after.mean:,.1f} from fresh starts, {self.before.mean:,.1f} at the start")
        else:
            self.after = after

    def _say(self, text: str) -> None:
        if self.verbose > 0:
            print(text)

    def __str__(self) -> str:
        """What was kept, what was rolled back, and what the training was worth."""
        names = ", ".join(f"{each.name} ({each.evaluation.mean:,.1f})" for each in self.kept)
        text = f"kept {names or 'nothing yet'}; rolled back {len(self.rolled_back)} times"
        if self.before is None or self.after is None:
            return text
        low, high = paired_interval(self.after.returns, self.before.returns, self.confidence)
        n = sum(value.numel() for value in self.best.snapshot.acting.values())
        return (
            f"{text}; {n:,} numbers guarded; return {self.before.mean:,.1f} before, {self.after.mean:,.1f} after, "
            f"difference [{low:+,.1f}, {high:+,.1f}] over {self.episodes} fresh starts"
        )


def _same(env: VecEnv, own: VecEnv) -> bool:
    """Whether they step the same environments."""
    one, other = env.unwrapped, own.unwrapped
    inner = [[each.unwrapped for each in getattr(worlds, "envs", ())] for worlds in (one, other)]
    vector = [getattr(worlds, "env", worlds) for worlds in (one, other)]
    return one is other or vector[0] is vector[1] or any(a is b for a in inner[0] for b in inner[1])
