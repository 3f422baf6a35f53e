"""Adapting k as a user would: by `nb_agents.search_k`, which tries the best candidates again before it chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.methods.kinds.evolution import EvolutionMethod
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec

if TYPE_CHECKING:  # imported where they are used: none is needed to read results
    from stable_baselines3.common.base_class import BaseAlgorithm

    from benchmarks.protocol.recorder import Recorder


@dataclass(frozen=True, kw_only=True)
class SearchMethod(EvolutionMethod):
    """k-gates trained by gradients on the source, adapted by `search_k`, with its defaults, within the budget.

    Nothing is deployed before the search ends, so that the return after fewer episodes is that of the source's k's.
    """

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Spend the transfer's budget."""
        from nb_agents import search_k

        env: Any = model.get_env()
        found = search_k(model, env, spec.transfer_episodes, population=self.population, seed=1_000 + 100 * spec.seed)
        found.battery.apply("found")
        recorder.episodes += [float(each) for each in found.scores]
        model.num_timesteps += len(found.scores) * EPISODE_STEPS // spec.settings.frame_skip
        recorder.evaluate(model)
