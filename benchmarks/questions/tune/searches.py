"""Search spaces: what is searched for, and how a point is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from benchmarks.methods import METHODS, specify
from benchmarks.protocol.settings import AlgorithmSettings, MetaSettings, PPOSettings, SACSettings
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from nb_evaluation.method import Described

MAX_UPDATES = {"ppo": 6_000, "sac": 15_000}
"""Gradient steps of a run at the published budget, so that the main job takes minutes."""

DT = 0.01
"""Seconds per physics step."""

AnySettings: TypeAlias = AlgorithmSettings | MetaSettings


@dataclass(frozen=True, kw_only=True)
class Search(Described):
    """What is searched for.

    Attributes:
        methods: Methods over which a trial's score is the mean of the interquartile mean of the final return.
        draw: Draws one point of the space.
        options: Fields of every run's specification beside method, seed and what is drawn.
        max_updates: Gradient steps beyond which a point is drawn again; None for no limit.
    """

    summary: str = ""

    methods: tuple[str, ...]
    draw: Callable[[np.random.Generator], AnySettings]
    options: Mapping[str, Any]
    max_updates: int | None = None

    def sample(self, trial: int) -> AnySettings:
        """The settings of a trial."""
        rng = np.random.default_rng(trial)
        while True:
            settings = self.draw(rng)
            if self.max_updates is None or isinstance(settings, MetaSettings):
                return settings
            spec = RunSpec(method=self.methods[0], seed=0)
            decisions = (spec.pretrain_episodes + spec.transfer_episodes) * EPISODE_STEPS // settings.frame_skip
            if decisions * _updates_per_decision(settings) <= self.max_updates:
                return settings

    def specification(self, method: str, seed: int, settings: AnySettings) -> RunSpec:
        """A run of a trial; what only the tables need is left out."""
        name = "meta" if isinstance(settings, MetaSettings) else "settings"
        return specify(method, seed=seed, detail=False, eval_every=10, **{name: settings}, **self.options)


def _updates_per_decision(settings: AlgorithmSettings) -> float:
    if isinstance(settings, PPOSettings):
        return settings.n_epochs / settings.batch_size
    return settings.gradient_steps / (settings.train_freq * settings.num_envs)


def _shared(rng: np.random.Generator, frame_skip: int) -> dict[str, Any]:
    horizon = float(rng.choice([0.5, 1.0]))  # seconds that the discount looks ahead, whatever the frame skip
    return {
        "frame_skip": frame_skip,
        "observe": {
            "theta": float(rng.choice([0.3, 0.5])),
            "theta_dot": float(rng.choice([0.5, 1.0])),
            "sin_drive": 1.0,
            "cos_drive": 1.0,
        },
        "num_envs": int(rng.choice([2, 5])),
        "gamma": round(1.0 - frame_skip * DT / horizon, 4),
    }


def _draw_ppo(rng: np.random.Generator) -> PPOSettings:
    """One point of the space, which single changes to PPO's usual values on the same seeds had narrowed."""
    frame_skip = int(rng.choice([10, 20]))
    return PPOSettings(
        **_shared(rng, frame_skip),
        n_steps=EPISODE_STEPS // frame_skip,
        batch_size=int(rng.choice([25, 50])),
        n_epochs=int(rng.choice([10, 20])),
        learning_rate=float(np.round(10.0 ** rng.uniform(-3.0, -2.4), 4)),
        gae_lambda=float(rng.choice([0.8, 0.9, 0.95])),
        clip_range=float(rng.choice([0.2, 0.3, 0.4])),
        log_std_init=float(rng.choice([0.0, 0.5])),
    )


def _draw_sac(rng: np.random.Generator) -> SACSettings:
    """One point of a space around SAC's usual values, with as many updates as the time for a run allows."""
    return SACSettings(
        **_shared(rng, frame_skip=int(rng.choice([10, 20]))),
        gradient_steps=int(rng.choice([5, 10, 20])),
        learning_rate=float(np.round(10.0 ** rng.uniform(-3.1, -2.6), 4)),
        batch_size=int(rng.choice([128, 256])),
        tau=float(rng.choice([0.01, 0.02])),
        ent_coef=str(rng.choice(["auto_0.01", "auto_0.1"])),
    )


_BUDGETS: dict[str, dict[str, Any]] = {
    "short": {},
    "long": {"pretrain_episodes": 5_000, "source": {"A": (1.0, 1.5)}},
}
"""Fields of the specification for a short and a long pretraining."""

_BOTH = ("nb-pro", "fine-tune")  # an algorithm's settings are shared, so a gated and a plain method score them together

SEARCHES: dict[str, Search] = {
    "ppo": Search(methods=_BOTH, draw=_draw_ppo, options={"algo": "ppo"}, max_updates=MAX_UPDATES["ppo"]),
    "sac": Search(methods=_BOTH, draw=_draw_sac, options={"algo": "sac"}, max_updates=MAX_UPDATES["sac"]),
} | {
    search: Search(methods=(name,), draw=draw, options=_BUDGETS[search.rpartition("-")[2]])
    for name, method in METHODS.items()
    for search, draw in method.searches.items()
}
"""By the names on the command line: an algorithm, or a meta-learner, its outer update and its budget."""
