"""The context as a parameter: all of a conditioned actor that trains in a world whose context is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from torch import nn

from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.fixed import read_without, state_of
from nb_agents.inference.k_net import KNet, make_k_net
from nb_agents.policies.bare import bare_class
from nb_agents.surgery.rebuild import keep_frozen, rebuild
from nb_agents.surgery.worlds import known_statistics, take_over, without_context

Model = TypeVar("Model", bound=BaseAlgorithm)


class Guess(nn.Module):
    """f of a context that is a parameter, the same for all rows.

    Attributes:
        context: The parameter, shape ``(n_given,)``.
        f: What it was trained with, frozen.
    """

    def __init__(self, n_given: int, n_outputs: int, k_net: KNet) -> None:
        super().__init__()
        self.context = nn.Parameter(torch.zeros(n_given))
        self.f = make_k_net(k_net, n_given, n_outputs).requires_grad_(False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """f, ``(batch, n_outputs)``, of rows that show nothing, ``(batch, 0)``."""
        k: torch.Tensor = self.f(self.context[None])
        return k.expand(len(given), -1)


@dataclass(frozen=True)
class GuessOf:
    """Makes a `Guess`, as ``k_net`` of a policy.

    Attributes:
        n_given: Numbers of the context.
        k_net: What f was made with.
    """

    n_given: int
    k_net: KNet

    def __call__(self, n_inputs: int, n_outputs: int) -> Guess:
        """A guess of 0."""
        return Guess(self.n_given, n_outputs, self.k_net)


def searching(model: Model, env: GymEnv | VectorEnv[Any, Any, Any], start: ArrayLike | None = None) -> Model:
    """A model whose guess of the context is all of the actor that trains: the search of k by gradient.

    ``learn()`` moves ``nb_agents.guess(found)``, with the k's rate; layers, f and k0 stay, and so does the spread of
    actions. A critic learns on. What is found goes into ``model.policy.at(guess)``. A far context may lie in another
    basin, as the other sign of an actuator does, where `nb_agents.search_k` over the context needs no slope to get to.

    Args:
        model: SB3 model whose policy has ``k_from``; it is not changed.
        env: Environment that shows what the model observes without that part, its `VecNormalize` as in `nb_agents.at`.
        start: First guess, as the policy observes it, shape ``(n_given,)``; None for zeros, the middle of the ranges.

    Raises:
        ValueError: If the policy's k's are not computed from a part of the observation, ``env`` shows something else
            than the rest, or standardised otherwise, or ``start`` is of another shape or not finite.
    """
    policy: Any = model.policy
    if not getattr(policy, "k_from", None):
        raise ValueError("model must have a policy with k_from, a part of the observation that is to be guessed")
    worlds = without_context(model, env)
    statistics = known_statistics(model, worlds)
    given = next(conditioned_nets(policy)).given
    first = torch.zeros(len(given)) if start is None else torch.as_tensor(np.asarray(start), dtype=torch.float32)
    if first.shape != given.shape or not first.isfinite().all():
        raise ValueError(f"start must be {len(given)} finite numbers, as they are observed, got {start!r}")
    first = first.to(given.device)

    def fill(new: Any) -> None:
        new.load_state_dict(_state(policy, new, given, first))
        keep_frozen(new, policy)
        for net in conditioned_nets(new):
            for gate in net.gates:
                gate.k.requires_grad_(False)
        new.train_only("gates")

    kwargs = {"k_from": (), "k_net": GuessOf(len(given), policy.k_net), "k_target_weight": 0.0, "task_difficulty": 0.0}
    made, reads = bare_class(policy)
    found = rebuild(model, made, {**model.policy_kwargs, **reads, **kwargs}, fill, worlds)
    take_over(statistics)
    return found  # type: ignore[no-any-return]


def guess(model: BaseAlgorithm) -> torch.Tensor:
    """The context that a model of `searching` has come to, shape ``(n_given,)``.

    Raises:
        ValueError: If the model is another one.
    """
    nets = [net for net in conditioned_nets(model.policy) if isinstance(net.k_net, Guess)]
    if not nets:
        raise ValueError("model must be one that nb_agents.searching made")
    return nets[0].k_net.context.detach().clone()  # type: ignore[operator]


@torch.no_grad()
def _state(policy: nn.Module, new: nn.Module, given: torch.Tensor, first: torch.Tensor) -> dict[str, Any]:
    """The conditioned policy's state for one that guesses."""
    old = {name.replace(".k_net.", ".k_net.f."): value for name, value in state_of(policy, new).items()}
    state = new.state_dict()
    for name, wanted in state.items():
        if name.endswith(".k_net.context"):
            old[name] = first.clone()
        elif old[name].shape != wanted.shape:
            read_without(policy, old, name, wanted.shape, given, first)
    return {name: old[name] for name in state}
