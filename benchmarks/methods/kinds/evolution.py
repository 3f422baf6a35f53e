"""Adapting k without gradients: at most 10 numbers, searched by CMA-ES with whole episodes as scores."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    """

    adapts: str | None = "gates"
    gated: bool = True
    compared: bool = False
    panel: str = "k by CMA-ES"
    sigma: float = 2.0
    population: int = 4

    def check(self, spec: RunSpec) -> None:
        """See `Method.check`; the package `cma` may not be installed."""
        if importlib.util.find_spec("cma") is None:
            raise ModuleNotFoundError(f'{spec.method} needs cma: pip install "neural-battery[bench]"')

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Spend the transfer's budget; what is left when a generation is incomplete is scored all the same."""
        import torch
        from stable_baselines3.common.evaluation import evaluate_policy

        from nb_agents import Battery

        env: Any = model.get_env()
        k_sets = Battery(model.policy)
        k_sets.capture("best")
        search = _Search(k_sets["best"].double().numpy(), self, np.random.default_rng([spec.seed, 2]))
        highest = -math.inf
        for i in range(spec.transfer_episodes // env.num_envs):
            if i > 0:
                k_sets.add("tried", torch.from_numpy(search.ask()), overwrite=True)
                k_sets.apply("tried")
            returns: Any = evaluate_policy(model, env, env.num_envs, deterministic=True, return_episode_rewards=True)[0]
            score = float(np.mean(returns))
            recorder.episodes += [float(each) for each in returns]
            model.num_timesteps += len(returns) * EPISODE_STEPS // spec.settings.frame_skip
            if i > 0:
                search.tell(score)
            if score > highest:
                k_sets.capture("best", overwrite=True)
                highest = score
            k_sets.apply("best")
            recorder.evaluate_if_due(model)


class _Search:
    """CMA-ES, asked for one candidate at a time."""

    def __init__(self, start: NDArray[np.float64], method: EvolutionMethod, rng: np.random.Generator) -> None:
        import cma  # it takes a second to import

        options = {
            "popsize": method.population,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": math.nan,  # leaves NumPy's global generator alone
            "verbose": -9,
        }
        self._strategy = cma.CMAEvolutionStrategy(start, method.sigma, options)
        self._asked: list[NDArray[np.float64]] = []
        self._costs: list[float] = []

    def ask(self) -> NDArray[np.float64]:
        """The next candidate."""
        if not self._asked:
            self._asked = self._strategy.ask()
        return self._asked[len(self._costs)]

    def tell(self, score: float) -> None:
        """The return of the last candidate."""
        self._costs.append(-score)
        if len(self._costs) == len(self._asked):
            self._strategy.tell(self._asked, self._costs)
            self._asked, self._costs = [], []
