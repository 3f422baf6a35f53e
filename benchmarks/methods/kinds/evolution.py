"""Adapting k without gradients: at most 10 numbers, searched by CMA-ES with whole episodes as scores."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.methods.kinds.gradient import GradientMethod
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec

if TYPE_CHECKING:  # imported where they are used: none is needed to read results
    from stable_baselines3.common.base_class import BaseAlgorithm

    from benchmarks.protocol.recorder import Recorder


@dataclass(frozen=True, kw_only=True)
class EvolutionMethod(GradientMethod):
    """k-gates trained by gradients on the source, adapted by CMA-ES on the target.

    A candidate's score is its mean return over one training episode in each environment, all of which count towards the
    budget; it acts deterministically, as the deployed policy does, for the search explores in k and not in actions. The
    first to be scored are the source's k's. Deployed is whatever has scored highest so far, which costs no episode.

    Attributes:
        sigma: First standard deviation of the search in k.
        population: Number of candidates per generation.
        last_alone: Whether only the last k is searched: a factor of the actions, but for their bias.
    """

    adapts: str | None = "gates"
    gated: bool = True
    compared: bool = False
    panel: str = "k by CMA-ES"
    sigma: float = 2.0
    population: int = 4
    last_alone: bool = False

    def check(self, spec: RunSpec) -> None:
        """See `Method.check`; the package `cma` may not be installed."""
        if importlib.util.find_spec("cma") is None:
            raise ModuleNotFoundError(f'{spec.method} needs cma: pip install "neural-battery[bench]"')

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Spend the transfer's budget; what is left when a generation is incomplete is scored all the same."""
        import torch
        from stable_baselines3.common.evaluation import evaluate_policy

        from nb_agents import Battery
        from nb_agents.adaptation.evolution import Evolution

        env: Any = model.get_env()
        k_sets = Battery(model.policy)
        k_sets.capture("best")
        start, rng = k_sets["best"].double().numpy(), np.random.default_rng([spec.seed, 2])
        held, start = np.split(start, [-1 if self.last_alone else 0])
        search = Evolution(start, self.sigma, self.population, rng)
        for _ in range(spec.transfer_episodes // env.num_envs):
            tried: Any = search.next()
            k_sets.add("tried", torch.from_numpy(np.append(held, search.candidates[tried])), overwrite=True)
            k_sets.apply("tried")
            returns: Any = evaluate_policy(model, env, env.num_envs, deterministic=True, return_episode_rewards=True)[0]
            recorder.episodes += [float(each) for each in returns]
            model.num_timesteps += len(returns) * EPISODE_STEPS // spec.settings.frame_skip
            search.tell(tried, float(np.mean(returns)))
            if search.best() == tried:
                k_sets.capture("best", overwrite=True)
            k_sets.apply("best")
            recorder.evaluate_if_due(model)
