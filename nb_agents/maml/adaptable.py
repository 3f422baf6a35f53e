"""A meta-learned policy, which can be adapted, evaluated and saved."""

from __future__ import annotations

import copy
import io
import pathlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv

from nb_agents._checks import check_count, check_positive
from nb_agents.maml.actor import StackedActor
from nb_agents.maml.critic import fit_critic
from nb_agents.maml.inner import Adaptation, Batch
from nb_agents.maml.rollout import Rollout, roll_out
from nb_agents.maml.tasks import EnvFactory, Task, check_tasks, make_env, make_task_envs
from nb_agents.maml.updates.base import MetaParameters
from nb_evaluation.files import write_atomically


class Adaptable(BaseAlgorithm):
    """An SB3 algorithm whose policy is an initialisation for an inner loop; `MAML` learns it.

    Attributes:
        policy: The initialisation.
        inner_rates: Step size of each of the actor's parameters, shape ``(n_params,)``.
        inner_steps: Number of gradient steps of an adaptation.
        episodes_per_task: Number of episodes for each of them.
        env_factory: Maker of a task's environment.
    """

    policy: ActorCriticPolicy
    policy_class: type[ActorCriticPolicy]
    inner_rates: torch.nn.Parameter
    inner_steps: int
    episodes_per_task: int
    env_factory: EnvFactory
    gamma: float
    gae_lambda: float
    learn_inner_lr: bool
    _actor: StackedActor

    def _meta_parameters(self) -> MetaParameters:
        return MetaParameters(self._actor.get_vector(), self.inner_rates.detach().clone(), self.learn_inner_lr)

    def adapt(
        self,
        task: Task,
        steps: int | None = None,
        *,
        episodes: int | None = None,
        env: GymEnv | None = None,
        reward_scale: float = 1.0,
        seed: int | None = None,
        **ppo_kwargs: Any,
    ) -> PPO:
        """Take inner steps on a task. The meta-parameters and the training's random numbers are untouched.

        Args:
            task: Keywords of the environment.
            steps: Number of gradient steps, >= 0; that of the training by default. 0 gives the initialisation itself.
            episodes: Number of episodes per step; that of the training by default.
            env: The environment to give to the model; one made of the task by default.
            reward_scale: Factor between the tasks' rewards and those of ``env``; the critic, which the inner loop does
                without, is fitted to the latter on the same episodes (`fit_critic`), so that PPO can go on from here.
            seed: Seed of the rollouts and the model; the algorithm's own by default.
            **ppo_kwargs: Further arguments of `PPO`, for those who go on training with `PPO.learn`.

        Returns:
            A `PPO` model with the adapted policy; its ``num_timesteps`` are the environment steps spent on adapting,
            its ``ep_info_buffer`` holds returns and lengths of their episodes.

        Raises:
            TypeError: If the task is not a dict of keywords.
            ValueError: If an argument is out of its range, or the environment does not accept the task.
            FloatingPointError: If a rollout is not finite.
        """
        check_positive("reward_scale", reward_scale)
        made = make_env(self.env_factory, task, (self.observation_space, self.action_space))
        if env is not None:
            made.close()
        params, rollouts = self._run([task], steps, episodes, seed, evaluate=False)
        settings: dict[str, Any] = {"gamma": self.gamma, "gae_lambda": self.gae_lambda, "device": self.device}
        with torch.random.fork_rng(devices=[]):
            model = PPO(
                self.policy_class,
                made if env is None else env,
                policy_kwargs=copy.deepcopy(self.policy_kwargs),
                **settings | ppo_kwargs,
            )
            model.set_random_seed(self.seed if seed is None else seed)
        model.policy.load_state_dict(self.policy.state_dict())
        StackedActor(model.policy).set_vector(params[-1][0])
        if rollouts:
            fit_critic(model.policy, rollouts, self._actor.names, gamma=self.gamma, reward_scale=reward_scale)
        model.num_timesteps = int(sum(rollout.lengths.sum() for rollout in rollouts))
        infos = [
            {"r": float(reward), "l": int(length), "t": 0.0}
            for rollout in rollouts
            for reward, length in zip(rollout.returns.flat, rollout.lengths.flat, strict=True)
        ]
        window = model._stats_window_size  # SB3 makes both buffers where a model that it has not trained yet has none
        model.ep_info_buffer, model.ep_success_buffer = deque(infos, maxlen=window), deque(maxlen=window)
        return model

    def evaluate(
        self, tasks: Sequence[Task], steps: int | None = None, *, episodes: int | None = None, seed: int | None = None
    ) -> NDArray[np.float64]:
        """Returns before and after each inner step, of the stochastic policies that act in the inner loop.

        Args:
            tasks: The tasks, all adapted to at once.
            steps: Number of gradient steps, as for `adapt`.
            episodes: Number of episodes, as for `adapt`.
            seed: Seed, as for `adapt`.

        Returns:
            Undiscounted returns, shape ``(steps + 1, tasks, episodes)``.
        """
        check_tasks(self.env_factory, tasks, (self.observation_space, self.action_space))
        _, rollouts = self._run(tasks, steps, episodes, seed, evaluate=True)
        return np.stack([rollout.returns for rollout in rollouts])

    def _run(
        self, tasks: Sequence[Task], steps: int | None, episodes: int | None, seed: int | None, *, evaluate: bool
    ) -> tuple[list[torch.Tensor], list[Rollout]]:
        """Adapt to tasks: parameters after each step, and the rollouts before each (`evaluate`: and after the last)."""
        steps = self.inner_steps if steps is None else check_count("steps", steps, 0)
        episodes = self.episodes_per_task if episodes is None else check_count("episodes", episodes)
        seed = self.seed if seed is None else seed
        meta = self._meta_parameters()
        adaptation = Adaptation(self._actor, meta.theta, meta.rates, len(tasks), second_order=False)
        rollouts: list[Rollout] = []
        if steps == 0 and not evaluate:
            return adaptation.params, rollouts
        envs = make_task_envs(self.env_factory, tasks, episodes)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(np.random.SeedSequence(seed).generate_state(1)[0])
                for k in range(steps + evaluate):
                    rollouts.append(roll_out(envs, self._actor, adaptation.params[-1], seed=seed if k == 0 else None))
                    if k < steps:
                        adaptation.step(Batch.from_rollout(self._actor, rollouts[-1], self.gamma, self.gae_lambda))
        finally:
            envs.close()
        return adaptation.params, rollouts

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write the model as SB3 does; a file that is already there is replaced only by a complete one.

        `load` is SB3's and unpickles: a file from a stranger can run code.
        """
        if not isinstance(path, (str, pathlib.Path)):
            super().save(path, exclude, include)
            return
        target = pathlib.Path(path)
        buffer = io.BytesIO()
        super().save(buffer, exclude, include)
        target.parent.mkdir(parents=True, exist_ok=True)  # as SB3
        write_atomically(target if target.suffix else target.with_suffix(".zip"), buffer.getvalue())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_actor", "_task_envs", "_tasks", "_env_seed"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer", "rates_optimizer"], ["inner_rates"]
