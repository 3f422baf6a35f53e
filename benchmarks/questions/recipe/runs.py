"""One row of the recipe's table: a variant of the recipe over the published protocol, for many seeds at once.

Each seed has its own policy, its own starts and its own trainer. All of them act in one vector environment through one
batched forward pass, which is what makes 30 seeds affordable. They share the generator that decides where the expert
acts, so that a row with mixing is the row of all its seeds: run with fewer, a seed ends elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.protocol.environments import NUM_STARTS, fixed_starts, make_training_env, make_vector_env
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.protocol.settings import PPOSettings
from benchmarks.protocol.spec import EPISODE_STEPS
from benchmarks.questions.recipe.rows import BENCHMARK_CHANNELS, EPISODES_PER_ROUND, PHASES, SOURCE_A, TARGET_A, Variant
from nb_agents.recipe.dagger import Episode, Expert, collect
from nb_agents.recipe.trainer import NeuralBatteryPolicy, NeuralBatteryTrainer
from nb_agents.surgery.fold import remove_gates
from nb_gym import NBPendulumVectorEnv, controllers, difficulty

FloatArray = NDArray[np.float64]


class Ensemble:
    """Policies of one architecture that act together: each on its own share of the rows, in order.

    Args:
        module: A policy of that architecture.
        parameters: Those of all policies, stacked: `(size, ...)`.
        buffers: Likewise.
    """

    def __init__(
        self, module: NeuralBatteryPolicy, parameters: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]
    ) -> None:
        self.module, self.buffers = module, dict(buffers)
        self.parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        self.size = len(next(iter(self.parameters.values())))

    @classmethod
    def of(cls, policies: Sequence[NeuralBatteryPolicy]) -> Ensemble:
        """The policies as they are now."""
        return cls(copy.deepcopy(policies[0]), *stack_module_state(list(policies)))

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[NDArray[np.float32], None]:
        """Actions for observations, as SB3's `predict`; the number of rows is a multiple of that of the policies."""
        rows = torch.as_tensor(np.asarray(observation, dtype=np.float32))
        rows = rows.reshape(self.size, -1, rows.shape[-1])

        def act(parameters: Any, buffers: Any, x: torch.Tensor) -> torch.Tensor:
            return functional_call(self.module, (parameters, buffers), (x,))  # type: ignore[no-any-return]

        with torch.no_grad():
            return vmap(act)(self.parameters, self.buffers, rows).flatten(0, 1).numpy(), None


def make_env(observe: Mapping[str, float], num_envs: int, A: Any) -> VectorEnv[Any, Any, Any]:
    """Pendulums with one decision per physics step; who steps them resets them."""
    if not observe:
        return NBPendulumVectorEnv(num_envs, episode_steps=EPISODE_STEPS, autoreset_mode=AutoresetMode.DISABLED, A=A)
    return make_vector_env(PPOSettings(frame_skip=1, observe=observe), num_envs, A=A)


def evaluate(learner: Any, observe: Mapping[str, float], num_seeds: int) -> FloatArray:
    """Mean returns over the fixed starts, shape `(num_seeds, 2)`: at the source's A and at the target's."""
    A = np.tile(np.repeat([SOURCE_A, TARGET_A], NUM_STARTS), num_seeds)
    env = make_env(observe, len(A), A)
    theta, theta_dot = (np.tile(starts, 2 * num_seeds) for starts in fixed_starts())
    observation, _ = env.reset(options={"theta": theta, "theta_dot": theta_dot})
    returns = np.zeros(len(A))
    for _ in range(EPISODE_STEPS):
        observation, rewards, *_ = env.step(learner.predict(observation)[0])
        returns += rewards
    means: FloatArray = returns.reshape(num_seeds, 2, NUM_STARTS).mean(axis=2)
    return means


def starts(seeds: Sequence[int], stream: Sequence[int], episodes: int) -> list[int]:
    """Seeds of the environments: those of a run's episodes depend on its own seed and on `stream` alone."""
    drawn = [np.random.SeedSequence([seed, *stream]).generate_state(episodes) for seed in seeds]
    return np.concatenate(drawn).tolist()  # type: ignore[no-any-return]


def make_expert(
    name: str | None, env: VectorEnv[Any, Any, Any], models: Mapping[float, BaseAlgorithm], A: float
) -> Expert:
    """The expert for one environment; the reference controllers read its state and time, and know its A."""
    if name == "sb3":
        return lambda observation: models[A].predict(observation, deterministic=True)[0]
    if name is None:
        return lambda observation: np.zeros(env.action_space.shape or ())  # not used
    controller: Any = {"feed-forward": controllers.feed_forward(), "pd": controllers.pd(100.0, 20.0)}[name]
    base: Any = env.unwrapped
    rng = np.random.default_rng(0)  # these controllers draw nothing
    return lambda observation: controller(*base.state, base.time, base.context, rng)[:, np.newaxis]


def train_sb3_experts(seed: int = 0) -> dict[float, BaseAlgorithm]:
    """PPO policies with the main benchmark's settings, one for each A, from 150 episodes each."""
    models: dict[float, BaseAlgorithm] = {}
    settings = PPOSettings()
    for A in PHASES:
        model = settings.build("MlpPolicy", make_training_env(settings, {"A": A}), {}, seed)
        models[A] = without_log_folder(model).learn(sum(PHASES.values()) * EPISODE_STEPS // settings.frame_skip)
    return models


def make_trainer(variant: Variant, seed: int) -> NeuralBatteryTrainer:
    """The trainer of one seed, its networks fresh."""
    ungated: dict[str, Any] = {} if variant.gated else {"k_target_weight": 0.0}
    trainer = NeuralBatteryTrainer(
        len(variant.observe) or 2,
        1,
        variant.hierarchical,
        lr=variant.lr,
        k_lr=5 * variant.lr,
        updates_per_step=max(variant.updates, 1),
        batch_size=variant.batch_size,
        seed=seed,
        **ungated,
        **variant.trainer,
    )
    if not variant.gated:
        remove_gates(trainer.policy)
    return trainer


Labelled = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def labelled(variant: Variant, episode: Episode) -> Labelled:
    """States, action targets and value targets of one episode."""
    if variant.expert is None:
        # The released code stores the state that a step led to beside the step's own action and reward.
        columns = (episode.states[1:], episode.actions[:-1], episode.rewards[:-1])
    else:
        returns = episode.rewards if variant.gamma is None else episode.returns(variant.gamma)
        columns = (episode.states, episode.expert_actions, returns)
    return tuple(torch.as_tensor(column, dtype=torch.float32) for column in columns)  # type: ignore[return-value]


def train_phase(
    variant: Variant,
    trainers: Sequence[NeuralBatteryTrainer],
    seeds: Sequence[int],
    A: float,
    models: Mapping[float, BaseAlgorithm],
) -> FloatArray:
    """Collect and train at one A; the returns of the training episodes, shape `(num_seeds, episodes)`."""
    env = make_env(variant.observe, len(seeds) * EPISODES_PER_ROUND, A)
    expert = make_expert(variant.expert, env, models, A)
    data: list[list[Labelled]] = [[] for _ in seeds]
    returns = []
    tau = float(difficulty(A))
    for i in range(PHASES[A] // EPISODES_PER_ROUND):
        episodes = collect(
            env,
            Ensemble.of([trainer.policy for trainer in trainers]),
            expert,
            np.random.default_rng([int(10 * A), i]),
            mixing=0.0 if variant.expert is None else 0.5**i,
            seed=starts(seeds, [int(10 * A), i], EPISODES_PER_ROUND),
        )
        returns.append(np.reshape([episode.rewards.sum() for episode in episodes], (len(seeds), -1)))
        for j, trainer in enumerate(trainers if variant.updates else []):
            new = [labelled(variant, e) for e in episodes[j * EPISODES_PER_ROUND : (j + 1) * EPISODES_PER_ROUND]]
            data[j] += new
            states, labels, values = (torch.cat(column) for column in zip(*data[j], strict=True))
            for own in new:
                given = (states, labels, values) if variant.aggregate else own
                trainer.train_step(*given, task_difficulty=tau)
    return np.concatenate(returns, axis=1)


def run(variant: Variant, seeds: Sequence[int]) -> dict[str, Any]:
    """Make a row: lists with one number for each seed.

    Args:
        variant: What distinguishes the row.
        seeds: One policy each.
    """
    models = train_sb3_experts() if variant.expert == "sb3" else {}
    start = _pretrain(replace(variant, adapt="all"), tuple(seeds), models)
    adapting = copy.deepcopy(start.trainers)
    if variant.adapt != "all":
        for trainer in adapting:
            trainer.policy.train_only(variant.adapt)
    episodes = train_phase(variant, adapting, seeds, TARGET_A, models)
    after = evaluate(Ensemble.of([t.policy for t in adapting]), variant.observe, len(seeds))
    gates = [gate.gate().max().item() for t in adapting for gate in t.policy.gates.values()]
    returns = {A: float(evaluate(each, BENCHMARK_CHANNELS, 1)[0, i]) for i, (A, each) in enumerate(models.items())}
    return {
        "untrained": start.untrained[:, 1].tolist(),
        "source_before": start.before[:, 0].tolist(),
        "zero_shot": start.before[:, 1].tolist(),
        "final": after[:, 1].tolist(),
        "source_after": after[:, 0].tolist(),
        "best_episode": episodes.max(axis=1).tolist(),
        "largest_gate": max(gates, default=None),
        "expert": {str(A): value for A, value in returns.items()} or None,
    }


class _Start(NamedTuple):
    """What rows that differ in `adapt` alone share."""

    trainers: Sequence[NeuralBatteryTrainer]
    untrained: FloatArray
    before: FloatArray


_latest: dict[str, _Start] = {}


def _pretrain(variant: Variant, seeds: tuple[int, ...], models: Mapping[float, BaseAlgorithm]) -> _Start:
    """The policies after the source; the last answer is kept, for the row that shares it."""
    key = repr((variant, seeds))
    if key not in _latest:
        trainers = [make_trainer(variant, seed) for seed in seeds]
        untrained = evaluate(Ensemble.of([t.policy for t in trainers]), variant.observe, len(seeds))
        if variant.updates:
            train_phase(variant, trainers, seeds, SOURCE_A, models)
        before = evaluate(Ensemble.of([t.policy for t in trainers]), variant.observe, len(seeds))
        _latest.clear()
        _latest[key] = _Start(trainers, untrained, before)
    return _latest[key]
