"""MAML as an SB3 algorithm."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule

from nb_agents._checks import check_count, check_positive
from nb_agents.maml.actor import StackedActor
from nb_agents.maml.adaptable import Adaptable
from nb_agents.maml.inner import Adaptation, Batch
from nb_agents.maml.rates import inner_rates
from nb_agents.maml.rollout import Rollout, Stopped, roll_out
from nb_agents.maml.scaling import ScaledExtractor
from nb_agents.maml.tasks import EnvFactory, Task, TaskSampler, TaskSource, make_task_envs
from nb_agents.maml.updates import parse_outer
from nb_agents.maml.updates.base import MetaData, MetaParameters, OuterUpdate
from nb_agents.maml.updates.reptile import ReptileUpdate
from nb_agents.vec_env.adapter import VectorEnvAdapter


class MAML(Adaptable):
    """Model-agnostic meta-learning of an SB3 policy (Finn et al. 2017, https://arxiv.org/abs/1703.03400).

    `learn` looks for an initialisation from which ``inner_steps`` policy-gradient steps reach a good policy on any of
    the tasks; `adapt` takes these steps on one task and returns an SB3 `PPO` model. The policy is an SB3
    `ActorCriticPolicy`, k-gated ones included; only its actor is trained here, on a linear baseline (`baseline.py`).

    Args:
        policy: "MlpPolicy" or an `ActorCriticPolicy` class.
        env: An id for `gymnasium.make`, a callable that takes a task's keywords and returns an environment, or
            `Environments`, which can also make many at once.
        tasks: A list of environment keyword dicts, or a sampler ``(rng, n) -> list of n of them``.
        inner_steps: Number K of gradient steps of an adaptation, >= 1.
        inner_lr: Their step size α, > 0.
        episodes_per_task: Number of episodes for each task and gradient step.
        tasks_per_iteration: Number of tasks in a meta-iteration; all of a list by default.
        adapt: Scope of the inner loop: "all" of the actor, its "head" (ANIL) or the k's of its "gates".
        first_order: Whether each inner step's Jacobian is taken as the identity (FOMAML).
        learn_inner_lr: Whether one step size per parameter is learned, from ``inner_lr`` on (Meta-SGD).
        outer: "trpo", "ppo", "reptile", or a `TRPOUpdate`, `PPOClipUpdate` or `ReptileUpdate` with its own settings.
        learning_rate: Rate of the policy's optimizer, which "ppo" uses; "trpo" and "reptile" have own step sizes.
        gamma: Discount factor.
        gae_lambda: Factor λ of generalised advantage estimation.
        normalize_observations: Whether running statistics in the policy scale observations (`ScaledExtractor`); a
            ``features_extractor_class`` in ``policy_kwargs`` takes its place.
        policy_kwargs: Further arguments of the policy.
        tensorboard_log: Folder for TensorBoard.
        verbose: Verbosity, as in SB3.
        seed: Seed of initialisation, tasks, environments and actions.
        device: Device of the networks.
        _init_setup_model: Whether to build the networks; `load` does so later.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If one is out of its range, tasks do not fit the environment or each other, or the policy cannot be
            meta-trained.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ActorCriticPolicy}
    _tasks: list[Task]
    _min_inner_steps: ClassVar[int] = 1

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: EnvFactory | None = None,
        tasks: Sequence[Task] | TaskSampler = (),
        *,
        inner_steps: int = 1,
        inner_lr: float = 0.1,
        episodes_per_task: int = 20,
        tasks_per_iteration: int | None = None,
        adapt: str = "all",
        first_order: bool = False,
        learn_inner_lr: bool = False,
        outer: str | OuterUpdate = "trpo",
        learning_rate: float | Schedule = 1e-3,
        gamma: float = 0.99,
        gae_lambda: float = 1.0,
        normalize_observations: bool = True,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        scaling = {"features_extractor_class": ScaledExtractor} if normalize_observations else {}
        super().__init__(
            policy,
            None,
            learning_rate,
            policy_kwargs=scaling | (policy_kwargs or {}),
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        self.inner_steps = check_count("inner_steps", inner_steps, self._min_inner_steps)
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.episodes_per_task = check_count("episodes_per_task", episodes_per_task)
        self.adapt_what = adapt
        self.first_order = first_order
        self.learn_inner_lr = learn_inner_lr
        self.gamma = check_positive("gamma", gamma, high=1.0)
        self.gae_lambda = check_positive("gae_lambda", gae_lambda, high=1.0)
        self.outer = parse_outer(outer)
        if not callable(learning_rate):
            check_positive("learning_rate", learning_rate)
        if learn_inner_lr and isinstance(self.outer, ReptileUpdate):
            raise ValueError("learn_inner_lr must be False with outer='reptile', which has no gradient for the rates")
        if not issubclass(self.policy_class, ActorCriticPolicy):
            raise ValueError(f"policy must be an SB3 ActorCriticPolicy, got {self.policy_class.__name__}")
        if not _init_setup_model:
            if env is not None:
                raise ValueError(
                    "env must not be given to load: the tasks, which the file holds, make the environments"
                )
            return
        if not (isinstance(env, str) or callable(env)):
            raise TypeError(f"env must be an environment id or a callable that makes environments, got {env!r}")
        self.env_factory = env
        size = None if tasks_per_iteration is None else check_count("tasks_per_iteration", tasks_per_iteration)
        self.task_source = TaskSource(env, tasks, size)
        self._setup_model()

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self._rng = np.random.default_rng(self.seed)
        self._set_tasks(self.task_source.draw(self._rng))
        assert self.env is not None
        self.observation_space, self.action_space = self.env.observation_space, self.env.action_space
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)
        self._actor = StackedActor(self.policy)
        rates = inner_rates(self._actor, self.inner_lr, self.adapt_what)
        self.inner_rates = torch.nn.Parameter(rates, requires_grad=False)
        # Beside the policy's optimizer, whose groups may be the policy's own affair.
        self.rates_optimizer = torch.optim.Adam([self.inner_rates], lr=self.lr_schedule(1))

    def _set_tasks(self, tasks: list[Task]) -> None:
        if self.env is not None and tasks is self._tasks:
            return
        task_envs = make_task_envs(self.env_factory, tasks, self.episodes_per_task)
        if self.env is not None:
            self.env.close()
        self._tasks, self._task_envs = tasks, task_envs
        self._env_seed: int | None = int(self._rng.integers(2**31))
        self.env = VectorEnvAdapter(self._task_envs)  # for callbacks; rollouts need no dict per environment
        self.n_envs = self.env.num_envs

    @property
    def rollouts_per_iteration(self) -> int:
        """Rounds of ``episodes_per_task`` episodes that every task plays in a meta-iteration."""
        return self.inner_steps + self.outer.needs_outer_data

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "MAML",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Meta-train, in whole meta-iterations, until at least ``total_timesteps`` environment steps are done.

        Args:
            total_timesteps: Number of environment steps, those of the inner loops included, >= 1.
            callback: Callback as in SB3; ``on_step`` is called after each step of the vector environment.
            log_interval: Number of meta-iterations between writes of the log.
            tb_log_name: Name of the run for TensorBoard.
            reset_num_timesteps: Whether steps are counted from 0 again.
            progress_bar: Whether tqdm's bar is shown.

        Raises:
            FloatingPointError: If a rollout or an update is not finite; the meta-parameters stay as they were before.
        """
        check_count("total_timesteps", total_timesteps)
        check_count("log_interval", log_interval)
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        iteration = 0
        try:
            while self.num_timesteps < total_timesteps:
                self._meta_iteration(callback)
                iteration += 1
                self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
                if iteration % log_interval == 0:
                    self.dump_logs(iteration)
        except Stopped:  # by the callback
            pass
        callback.on_training_end()
        return self

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, 1e-9)
        self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.logger.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / seconds))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _meta_iteration(self, callback: BaseCallback) -> None:
        if self._n_updates > 0:
            self._set_tasks(self.task_source.draw(self._rng))

        def on_step(running: int) -> bool:
            self.num_timesteps += running
            callback.update_locals(locals())
            return callback.on_step()

        meta = self._meta_parameters()
        tasks = len(self._tasks)
        adaptation = Adaptation(self._actor, meta.theta, meta.rates, tasks, second_order=not self.first_order)
        rollouts: list[Rollout] = []
        batches: list[Batch] = []
        callback.on_rollout_start()
        for k in range(self.rollouts_per_iteration):
            if k > 0:
                adaptation.step(batches[-1])
            params = adaptation.params[-1]
            rollouts.append(roll_out(self._task_envs, self._actor, params, seed=self._env_seed, on_step=on_step))
            self._env_seed = None
            batches.append(Batch.from_rollout(self._actor, rollouts[-1], self.gamma, self.gae_lambda))
        callback.on_rollout_end()
        if not self.outer.needs_outer_data:
            adaptation.step(batches[-1])
        self._update(meta, adaptation, batches)
        for module in self.policy.modules():
            if isinstance(module, ScaledExtractor):
                module.update(torch.cat([r.observations[r.mask.bool()] for r in rollouts]))
        for k, rollout in enumerate(rollouts):
            self.logger.record(f"rollout/return_step_{k}", float(rollout.returns.mean()))
        self.logger.record("rollout/ep_rew_mean", float(rollouts[-1].returns.mean()))
        self.logger.record("rollout/ep_len_mean", float(rollouts[-1].lengths.mean()))

    def _update(self, meta: MetaParameters, adaptation: Adaptation, batches: list[Batch]) -> None:
        optimizers = [self.policy.optimizer, self.rates_optimizer] if self.outer.uses_optimizer else []
        if optimizers:
            self._update_learning_rate(optimizers)
        data = MetaData(self._actor, tuple(batches[: self.inner_steps]), batches[-1], not self.first_order)
        before = [copy.deepcopy(optimizer.state_dict()) for optimizer in optimizers]
        try:
            new, logs = self.outer.update(data, meta, adaptation, self._optimize)
            if not torch.isfinite(new.vector).all():
                raise FloatingPointError("the outer update must be finite, got a NaN or infinity; it is not kept")
        except FloatingPointError:
            self._write(meta)
            for optimizer, state in zip(optimizers, before, strict=True):
                optimizer.load_state_dict(state)
            raise
        self._write(new)
        self._n_updates += 1
        for name, value in logs.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if self.learn_inner_lr:
            self.logger.record("train/inner_lr_mean", float(new.rates[new.rates != 0].mean()))

    def _write(self, meta: MetaParameters) -> None:
        self._actor.set_vector(meta.theta)
        self.inner_rates.copy_(meta.rates)

    def _optimize(self, gradient: torch.Tensor) -> MetaParameters:
        theta_gradient, rates_gradient = gradient[: self._actor.n_params], gradient[self._actor.n_params :]
        self._actor.set_gradient(theta_gradient)
        self.policy.optimizer.step()
        if self.learn_inner_lr:
            self.inner_rates.grad = rates_gradient.clone()
            self.rates_optimizer.step()
        return self._meta_parameters()
