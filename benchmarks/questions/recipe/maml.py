"""Supervised MAML over the recipe's protocol: the fair opponent of a recipe that sees the expert's actions.

A task is a pendulum with its A. From one labelled episode of a task, the support, five gradient steps on the action
loss adapt the meta-parameters; the loss of the adapted policy on a second episode, the query, is differentiated through
the five steps (second order; Finn et al. 2017). The policy is the recipe's without gates. All seeds are computed at
once: parameters are stacked, `(num_seeds, ...)`, and Adam acts on numbers one by one. They share one generator, for
the amplitudes, who acts, and the minibatches, so that the row is that of all its seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.questions.recipe.rows import BENCHMARK_CHANNELS, EPISODES_PER_ROUND, PHASES, TARGET_A, MAMLSettings
from benchmarks.questions.recipe.runs import Ensemble, FloatArray, evaluate, make_env, make_expert, starts
from nb_agents.recipe.dagger import Episode, collect
from nb_agents.recipe.trainer import NeuralBatteryTrainer
from nb_agents.surgery.fold import remove_gates

Parameters = dict[str, torch.Tensor]
TASKS_PER_ROUND = EPISODES_PER_ROUND // 2  # a support and a query episode each


class SupervisedMAML:
    """Meta-parameters of one network per seed.

    Args:
        seeds: Seeds; the networks start as those of the recipe with these seeds.
        settings: See `MAMLSettings`.
    """

    def __init__(self, seeds: Sequence[int], settings: MAMLSettings) -> None:
        self.settings = settings
        policies = [NeuralBatteryTrainer(len(BENCHMARK_CHANNELS), 1, seed=seed).policy for seed in seeds]
        for policy in policies:
            remove_gates(policy)
        parameters, _ = stack_module_state(policies)
        acting = {name: p for name, p in parameters.items() if not name.startswith("value_net")}
        self.meta: Parameters = {name: p.detach().requires_grad_() for name, p in acting.items()}
        self.module = copy.deepcopy(policies[0])
        self.optimizer = torch.optim.Adam(self.meta.values(), lr=settings.outer_lr)

    def loss(self, parameters: Parameters, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean squared distance of one network's actions to the labels."""
        actions: torch.Tensor = functional_call(self.module, parameters, (states,))
        return torch.nn.functional.mse_loss(actions, labels)

    def adapt(self, parameters: Parameters, states: torch.Tensor, labels: torch.Tensor) -> Parameters:
        """The inner steps of one network on one support; what autograd sees of them is differentiable."""
        for _ in range(self.settings.inner_steps):
            gradients = grad(self.loss)(parameters, states, labels)
            parameters = {name: p - self.settings.inner_lr * gradients[name] for name, p in parameters.items()}
        return parameters

    def query_loss(self, parameters: Parameters, support: Any, query: Any) -> torch.Tensor:
        """Mean loss after adaptation over tasks; support and query are pairs of `(tasks, rows, ...)`."""
        losses = vmap(lambda s, q: self.loss(self.adapt(parameters, *s), *q))(support, query)
        return losses.mean()

    def update(self, support: Any, query: Any) -> None:
        """One meta-update of every seed; support and query are pairs of `(num_seeds, tasks, rows, ...)`."""
        # The sum over seeds: no seed's parameters appear in another's term.
        loss = vmap(self.query_loss)(self.meta, support, query).sum()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()

    def adapted(self, states: torch.Tensor, labels: torch.Tensor) -> Ensemble:
        """Adapted policies: every seed's network on each of its tasks, from `(num_seeds, tasks, rows, ...)`."""
        with torch.no_grad():
            adapt = vmap(vmap(self.adapt, in_dims=(None, 0, 0)))
            parameters = adapt({name: p.detach() for name, p in self.meta.items()}, states, labels)
        return Ensemble(self.module, {name: p.flatten(0, 1) for name, p in parameters.items()}, {})

    def unadapted(self) -> Ensemble:
        """The meta-parameters' own policies."""
        return Ensemble(self.module, self.meta, {})


def run(settings: MAMLSettings, seeds: Sequence[int]) -> dict[str, Any]:
    """The protocol: meta-training around A = 1.0, then on A = 1.8, with the recipe's numbers of episodes and updates.

    Args:
        settings: See `MAMLSettings`.
        seeds: One set of meta-parameters each.

    Returns:
        The row: lists with one number for each seed. "few_shot" is the return at A = 1.8 after the inner steps on a
        single episode there, that of the unadapted policy, labelled.
    """
    maml = SupervisedMAML(seeds, settings)
    untrained = evaluate(maml.unadapted(), BENCHMARK_CHANNELS, len(seeds))
    scores: dict[float, FloatArray] = {}
    zero_shot = few_shot = untrained
    for A, episodes in PHASES.items():
        last = meta_train(maml, seeds, A, episodes)
        scores[A] = evaluate(maml.adapted(*last), BENCHMARK_CHANNELS, len(seeds))
        if A != TARGET_A:
            zero_shot = evaluate(maml.unadapted(), BENCHMARK_CHANNELS, len(seeds))
            few_shot = evaluate(maml.adapted(*first_episode(maml, seeds)), BENCHMARK_CHANNELS, len(seeds))
    before, after = (scores[A] for A in PHASES)
    return {
        "untrained": untrained[:, 1].tolist(),
        "source_before": before[:, 0].tolist(),
        "zero_shot": zero_shot[:, 1].tolist(),
        "few_shot": few_shot[:, 1].tolist(),
        "final": after[:, 1].tolist(),
        "source_after": after[:, 0].tolist(),
    }


def meta_train(
    maml: SupervisedMAML, seeds: Sequence[int], A: float, episodes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One phase.

    Returns:
        States and labels of the last support episode on the phase's own A, `(num_seeds, 1, rows, ...)` each.
    """
    settings, num_seeds = maml.settings, len(seeds)
    rng = np.random.default_rng([seeds[0], int(10 * A)])
    supports: list[Any] = []
    queries: list[Any] = []
    for i in range(episodes // EPISODES_PER_ROUND):
        amplitudes = np.full((num_seeds, TASKS_PER_ROUND), A)
        if A != TARGET_A:
            # The last task of a round is the source itself, so that there is a support episode for its evaluation.
            amplitudes[:, :-1] += settings.spread * rng.uniform(-1.0, 1.0, (num_seeds, TASKS_PER_ROUND - 1))
        env = make_env(BENCHMARK_CHANNELS, amplitudes.size, amplitudes.ravel())
        expert = make_expert("feed-forward", env, {}, A)
        learner = maml.unadapted()
        for kind, data in enumerate((supports, queries)):
            seeding = starts(seeds, [int(10 * A), i, kind], TASKS_PER_ROUND)
            played = collect(env, learner, expert, rng, mixing=0.5**i, seed=seeding)
            data.append(_stack(played, num_seeds))
            if kind == 0:
                learner = maml.adapted(*data[-1])
        support, query = (
            [torch.cat(column, dim=1) for column in zip(*data, strict=True)] for data in (supports, queries)
        )
        for _ in range(settings.updates * EPISODES_PER_ROUND):
            task = torch.as_tensor(rng.integers(support[0].shape[1], size=settings.tasks))
            rows = torch.as_tensor(rng.integers(support[0].shape[2], size=(2, settings.batch_size)))
            maml.update(
                tuple(column[:, task][:, :, rows[0]] for column in support),
                tuple(column[:, task][:, :, rows[1]] for column in query),
            )
    states, labels = supports[-1]
    return states[:, -1:], labels[:, -1:]


def first_episode(maml: SupervisedMAML, seeds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """One labelled episode of the unadapted policies at A = 1.8, as `meta_train` returns it."""
    env = make_env(BENCHMARK_CHANNELS, len(seeds), TARGET_A)
    seeding = starts(seeds, [int(10 * TARGET_A)], 1)
    expert = make_expert("feed-forward", env, {}, TARGET_A)
    return _stack(collect(env, maml.unadapted(), expert, np.random.default_rng(0), seed=seeding), len(seeds))


def _stack(episodes: Sequence[Episode], num_seeds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States and labels, `(num_seeds, tasks, rows, ...)` each."""
    columns = ([episode.states for episode in episodes], [episode.expert_actions for episode in episodes])
    states, labels = (torch.as_tensor(np.array(column)) for column in columns)
    states, labels = (column.reshape(num_seeds, -1, *column.shape[1:]) for column in (states, labels))
    return states, labels
