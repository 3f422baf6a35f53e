"""What a run is: the specification that decides every number in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from typing_extensions import Self

from benchmarks.protocol.settings import ALGORITHMS, AlgorithmSettings, MetaSettings, PPOSettings
from nb_evaluation.runs.specification import Specification
from nb_gym import Context
from nb_gym.pendulum.settings import PARAMETERS

EPISODE_STEPS = 1000
"""Physics steps of an episode, the unit of every budget."""

PROTOCOL = 2
"""Counted up whenever a change of the code changes what a specification gives; older run files are then refused."""

Parameters = Mapping[str, float]
"""Parameters of the environment by name; those not named keep their defaults."""

Source = Mapping[str, float | tuple[float, float]]
"""The same, where a `(low, high)` range is drawn from afresh for every episode or task."""


@dataclass(frozen=True, kw_only=True)
class RunSpec(Specification):
    """Everything that decides a run: two runs of one specification give the same numbers to the last bit.

    Attributes:
        method: Key of `benchmarks.methods.METHODS`.
        seed: Seed of the networks, the exploration and the training environments.
        algo: Key of `benchmarks.protocol.settings.ALGORITHMS`.
        source: Context that the pretraining trains on; a parameter may be a range.
        target: Context of the transfer.
        pretrain_episodes: Budget of the pretraining, episodes of 1,000 physics steps.
        transfer_episodes: Budget of the transfer, episodes of 1,000 physics steps.
        eval_every: Number of episodes of training from one evaluation to the next.
        settings: Settings of the algorithm, shared by all methods.
        meta: Settings of a meta-learner; None for other methods.
        transfer_envs: Number of environments that collect side by side in the transfer; None for that of the
            pretraining.
        detail: Whether to evaluate during the pretraining, and over a range of contexts before and after the transfer.
        protocol: Version of the protocol, see `PROTOCOL`.

    Raises:
        TypeError: A context names something that the pendulum does not have.
        ValueError: A budget or the seed is out of range, or a context holds what the pendulum does not accept.
    """

    algo: str = "ppo"
    source: Source = field(default_factory=lambda: {"A": 1.0})
    target: Parameters = field(default_factory=lambda: {"A": 1.8})
    pretrain_episodes: int = 50
    transfer_episodes: int = 100
    eval_every: int = 5
    settings: AlgorithmSettings = field(default_factory=PPOSettings)
    meta: MetaSettings | None = None
    transfer_envs: int | None = None
    detail: bool = True
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        for name in ("pretrain_episodes", "transfer_episodes", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        super().__post_init__()
        if self.algo not in ALGORITHMS or not isinstance(self.settings, ALGORITHMS[self.algo]):
            raise ValueError(f"algo must be one of {', '.join(ALGORITHMS)}, with its own settings; got {self.algo!r}")
        for name in ("source", "target"):
            parsed = PARAMETERS.parse(getattr(self, name))
            # 1 and 1.0 are one context, and must have one digest; so are the tuples that JSON turns into lists.
            object.__setattr__(self, name, {key: parsed[key] for key in getattr(self, name)})
        if not all(isinstance(value, float) for value in self.target.values()):
            raise ValueError(f"target must hold numbers, not ranges or arrays; got {self.target}")
        if EPISODE_STEPS % self.settings.frame_skip:
            raise ValueError(f"frame_skip must divide {EPISODE_STEPS}, got {self.settings.frame_skip}")
        for name, settings in (("pretrain_episodes", self.settings), ("transfer_episodes", self.transfer_settings)):
            episodes, num_envs = getattr(self, name), settings.num_envs
            settings.check_budget(name, episodes * EPISODE_STEPS)
            if episodes % num_envs:  # or else some, or all, would never come to an end
                raise ValueError(f"{name} is {episodes}, of {num_envs} side by side: choose a multiple of {num_envs}")

    __hash__ = Specification.__hash__

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """See `Specification.from_json`."""
        settings = ALGORITHMS[data["algo"]](**data["settings"])
        meta = data["meta"] and MetaSettings(**data["meta"])
        return cls(**{**data, "settings": settings, "meta": meta})

    @property
    def transfer_settings(self) -> AlgorithmSettings:
        """The algorithm's settings in the transfer."""
        return self.settings if self.transfer_envs is None else replace(self.settings, num_envs=self.transfer_envs)

    @property
    def middle(self) -> Parameters:
        """The source's context, or the middle of its ranges: where the source task is measured."""
        return {name: float(np.mean(value)) for name, value in self.source.items()}

    @property
    def between(self) -> Source:
        """What lies between source and target: a range for each parameter that differs."""
        names = dict.fromkeys([*self.source, *self.target])
        defaults = Context()._asdict()
        ends = {name: (self.middle.get(name, defaults[name]), self.target.get(name, defaults[name])) for name in names}
        return {name: low if low == high else (min(low, high), max(low, high)) for name, (low, high) in ends.items()}

    @property
    def name(self) -> str:
        """See `Specification.name`."""
        return f"{self.method}-{self.algo}-seed{self.seed}-{self.digest}"

    @property
    def own(self) -> tuple[str, ...]:
        """See `Specification.own`; a meta-learner's own settings are not shared with other methods."""
        return ("method", "seed", "meta")
