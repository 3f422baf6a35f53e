"""Comparing the k-sets of a battery, and choosing the one that fits what was seen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nb_agents._checks import check_flag
from nb_agents.battery.distributions import Components, components, divergence, prepare
from nb_agents.battery.dynamics import Dynamics, log_likelihoods
from nb_agents.battery.k_set import NamedKSets
from nb_agents.battery.per_row import gates_of
from nb_agents.battery.transitions import tabulate
from nb_agents.battery.tree import draw_tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_FITTED, FEWEST_RECENT = 20, 5
"""Transitions that dynamics are fitted to, and by which a k-set is chosen, at least."""

ROUNDING = 16
"""Units in the last place by which gates may differ that are the same."""


class Choosing(NamedKSets):
    """What a `Battery` knows of the distances between its k-sets, and of the tasks that they are for."""

    def same(self, first: str, second: str) -> bool:
        """Whether two k-sets give the same gates, to rounding; of low-rank adapters, the same products.

        The column of the layer in a gate's matrix M is a multiple of the sum of its blocks', so that different k's can
        give the same gates: each layer with blocks has one direction in which nothing changes.

        Raises:
            KeyError: If there is no such k-set.
        """
        sets = [dict(zip(self._places, self._find(name).parts, strict=True)) for name in (first, second)]
        with torch.no_grad():
            for one, other in zip(*(self._kind.effects(self.network, each) for each in sets), strict=True):
                close = ROUNDING * torch.finfo(one.dtype).eps * max(1.0, float(one.abs().max()))
                if not torch.allclose(one, other, rtol=0.0, atol=close):
                    return False
        return True

    def distance(self, first: str, second: str, observations: Any, *, symmetric: bool = False) -> float:
        """KL divergence between the policies that two k-sets give, mean over observations.

        It is KL(first || second): how many nats worse the second k-set's policy tells what the first one's does. It
        is 0 for k-sets that give the same gates. Nothing is changed, no k and no mode.

        Args:
            first: The k-set that acts.
            second: The k-set that it is told from.
            observations: Batch of observations as the policy sees them, which a `VecNormalize` has normalised where
                there is one; arrays by name where its space is a dictionary.
            symmetric: Whether to take the mean of both directions.

        Returns:
            Nats per observation; infinite where the second never does what the first does.

        Raises:
            KeyError: If there is no such k-set.
            TypeError: If the network is no policy with a distribution of actions: TD3, DDPG, DQN and QRDQN act
                deterministically, and a policy with a memory does not act on the observation alone.
            ValueError: If observations are of another space, none, or not finite.
        """
        check_flag("symmetric", symmetric)
        there, back = self._divergences([first, second], observations)[[0, 1], [1, 0]]
        return float((there + back) / 2 if symmetric else there)

    def distances(self, observations: Any) -> NDArray[np.float64]:
        """`distance` of all pairs, in the order of the names: ``[i, j]`` is KL(i || j); the errors are the same."""
        return self._divergences(list(self), observations)

    def tree(self, observations: Any, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the k-sets as a tree: what is joined low gives policies that are alike.

        The length is √(2 KL), with the mean of both directions of `distance`: for policies that are alike it is the
        Fisher information's length. Groups are joined by the mean over their pairs.

        Args:
            observations: As in `distance`.
            path: A picture to write, at once or not at all; its suffix says which kind (``.png``, ``.svg``, ``.pdf``).

        Returns:
            The figure, which was not shown.

        Raises:
            ImportError: If matplotlib or SciPy is not installed.
            OSError: If the picture cannot be written.
            TypeError: As `distance`.
            ValueError: As `distance`; if there are fewer than two k-sets, or a divergence is infinite.
        """
        if len(self) < 2:
            raise ValueError(f"a tree takes at least two k-sets, got {list(self)}")
        return draw_tree(list(self), self.distances(observations), path)

    def fit_dynamics(self, name: str, transitions: Any) -> None:
        """Keep a small model of a task's dynamics beside its k-set, by which `nearest` knows the task again.

        Thousands of steps of many kinds, as those of an adaptation, are better than a few of one kind. The model is in
        the battery's file: some hundred numbers for a pendulum, some thousand for a half-cheetah.

        Args:
            name: The k-set; a model that it has is replaced, and `add` and `capture` with ``overwrite`` forget it.
            transitions: `Transitions` of the task, at least 20, whoever acted; or SB3's ``ReplayBufferSamples``.

        Raises:
            KeyError: If there is no such k-set.
            TypeError: If a field is missing or holds no numbers, or observations are no arrays.
            ValueError: If there are too few, they are not of the network's spaces, or not finite.
        """
        kept = self._find(name)
        model = Dynamics.fit(tabulate(transitions, self.network, FEWEST_FITTED))
        self._sets[name] = replace(kept, dynamics=model)

    def nearest(self, transitions: Any, among: Sequence[str] | None = None) -> str:
        """The k-set whose task explains recent steps best; ``battery.apply(battery.nearest(transitions))``.

        What tells a task is what actions do in it: each k-set's dynamics say how likely the next observations were, and
        the reward where all know it. Who acted does not matter. The actions' likelihood under the k-sets would tell who
        acted, and a return is as bad in many tasks.

        Args:
            transitions: `Transitions` of one task, at least 5; 50 tell a pendulum's tasks apart.
            among: Names to choose from; None for all.

        Returns:
            The name. Nothing was applied.

        Raises:
            KeyError: If there is no k-set of a name in ``among``.
            TypeError: As `fit_dynamics`.
            ValueError: As `fit_dynamics`; if there is nothing to choose from, or a k-set has no dynamics.
        """
        found = self.log_likelihoods(transitions, among)
        return max(found, key=lambda name: found[name])

    def log_likelihoods(self, transitions: Any, among: Sequence[str] | None = None) -> dict[str, float]:
        """What `nearest` compares: mean log density of the steps by each k-set's dynamics, in nats up to a constant.

        Arguments and errors are those of `nearest`.
        """
        if isinstance(among, str):
            raise TypeError(f"among must be a sequence of names, got {among!r}")
        names = list(self if among is None else among)
        models = {name: self._find(name).dynamics for name in names}
        if not names:
            raise ValueError("there is no k-set to choose from")
        if without := [name for name, model in models.items() if model is None]:
            raise ValueError(f"k-sets must have dynamics, which fit_dynamics(name, ...) keeps, got none for {without}")
        table = tabulate(transitions, self.network, FEWEST_RECENT)
        known = {name: model for name, model in models.items() if model is not None}
        return dict(zip(known, log_likelihoods(list(known.values()), table), strict=True))

    def _divergences(self, names: Sequence[str], observations: Any) -> NDArray[np.float64]:
        k_sets = [self._find(name).k for name in names]
        tensors = prepare(self.network, observations)
        with torch.no_grad():
            policies = [self._components(k, tensors) for k in k_sets]
            found = [[float(divergence(p, q).mean()) if p is not q else 0.0 for q in policies] for p in policies]
        return np.array(found).clip(min=0.0)  # it is not negative but for rounding

    def _components(self, k: torch.Tensor, tensors: Any) -> Components:
        """The policy of a k-set, for prepared observations."""
        if not self.gates:
            with self._replaced(k):
                return components(self.network, tensors)
        n = len(next(iter(tensors.values()))) if isinstance(tensors, dict) else len(tensors)
        with gates_of(list(self.gates.values()), k.expand(n, -1)):
            return components(self.network, tensors)

    @contextmanager
    def _replaced(self, k: torch.Tensor) -> Iterator[None]:
        """Within the context, other parameters stand in the place of the network's own, which nobody writes to."""
        own = self._parameters()
        try:
            for (owner, name), part, before in zip(self._places.values(), self._parts(k), own, strict=True):
                setattr(owner, name, nn.Parameter(part.to(before), requires_grad=False))
            yield
        finally:
            for (owner, name), before in zip(self._places.values(), own, strict=True):
                setattr(owner, name, before)
