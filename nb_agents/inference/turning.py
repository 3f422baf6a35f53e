"""The sign of a policy's last gates: tried in each context before f learns, since no gradient finds it.

A policy that was trained with one sign of its actuators is worth nothing at the other, and its neighbourhood in k is
worth nothing as well: training stays there. The other sign itself is one forward pass away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from torch import nn

from nb_agents._checks import check_count, check_positive
from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.inference.teaching import begun_anew, environments
from nb_agents.returns import as_it_is, first_episodes


@dataclass(frozen=True)
class Turned:
    """What `turn_around` has tried.

    Attributes:
        contexts: What f saw in each episode, shape ``(n, n_given)``.
        kept: Returns with the gates as they were, shape ``(n,)``.
        turned: Returns from the same starts with the last gates turned around, shape ``(n,)``.
        steps: Steps of the environments that it took.
    """

    contexts: NDArray[np.float32]
    kept: NDArray[np.float64]
    turned: NDArray[np.float64]
    steps: int

    def __str__(self) -> str:
        """What was better how often, and how much it brings."""
        better = int((self.turned > self.kept).sum())
        best = np.maximum(self.kept, self.turned).mean()
        return (
            f"turned around in {better} of {len(self.kept)} contexts: {self.kept.mean():.1f} as it was, "
            f"{best:.1f} with the better sign in each ({self.steps:,} steps)"
        )


def turn_around(
    model: BaseAlgorithm,
    env: GymEnv | VectorEnv[Any, Any, Any] | None = None,
    *,
    episodes: int = 1,
    updates: int = 1_000,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> Turned:
    """Try both signs of a conditioned policy's last gates, and begin f at the better one of each context.

    It is for policies whose weights come from one sign of an actuator, as after ``retrofit(model, k_from="context",
    gate_class=SignedKGate)``: the source's own k's are kept where they do better. Each environment runs an episode with
    the gates as they are, and from the same start one with the last layer's turned around, k → −k. f is then regressed
    to the better of the two, each context weighted by how far the two returns are apart. ``learn()`` goes on from
    there.

    Args:
        model: SB3 model with an actor of signed gates and ``k_from``, whose f trains.
        env: Environments that show what the model observes, in contexts of many kinds; None for the model's own.
        episodes: Contexts that are tried in each environment, for those that draw one for each episode.
        updates: Steps of the regression.
        learning_rate: Adam's.
        seed: Seed of the environments.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If the model's k's are not computed, its last gates are of a kind without signs, f does not train,
            the environments show something else than it observes, or a number is out of its range.
    """
    worlds = environments(model, env, "model")
    episodes, updates = check_count("episodes", episodes), check_count("updates", updates)
    learning_rate, seed = check_positive("learning_rate", learning_rate), check_count("seed", seed, low=0)
    nets = [_checked(net) for net in conditioned_nets(model.policy)]
    tried: list[_Tried] = []
    with begun_anew(model, worlds), as_it_is(worlds, model):
        for number in range(seed, seed + episodes):
            for sign in (1.0, -1.0):
                tried.append(_Tried(nets[0], sign))
                handle = nets[0].k_net.register_forward_hook(tried[-1])
                try:
                    tried[-1].returns = first_episodes(model.policy, worlds, number)
                finally:
                    handle.remove()
    contexts = torch.cat([each.given for each in tried[::2]])
    kept, turned = (np.concatenate([each.returns for each in tried[i::2]]) for i in (0, 1))
    if not (np.isfinite(kept).all() and np.isfinite(turned).all()):
        raise ValueError(f"env must give finite rewards; got the returns {kept} and {turned}")
    _fit(nets[0], contexts, turned - kept, updates, learning_rate)
    for net in nets[1:]:  # a target network's, which follows the actor
        net.k_net.load_state_dict(nets[0].k_net.state_dict())
    return Turned(contexts.cpu().numpy(), kept, turned, sum(each.calls for each in tried) * worlds.num_envs)


class _Tried:
    """A hook behind f that may turn the last gates around, and keeps what f has seen first."""

    given: torch.Tensor
    returns: NDArray[np.float64]

    def __init__(self, net: ConditionedNet, sign: float) -> None:
        self.net, self.sign, self.calls = net, sign, 0

    def __call__(self, _: nn.Module, inputs: tuple[torch.Tensor], k: torch.Tensor) -> torch.Tensor:
        if not self.calls:
            self.given = inputs[0].detach().clone()
        self.calls += 1
        k0 = self.net.k0
        return (k0 + k) * _signs(self.net, torch.full((len(k), 1), self.sign).to(k)) - k0


def _signs(net: ConditionedNet, last: torch.Tensor) -> torch.Tensor:
    """Factors of the k's, ``(batch, n_k)``: 1, and ``last``, ``(batch, 1)``, for those of the last gate."""
    n_last = len(net.gates[-1].k)
    return torch.cat([torch.ones_like(last).expand(-1, len(net.k0) - n_last), last.expand(-1, n_last)], dim=1)


def _fit(net: ConditionedNet, given: torch.Tensor, gain: NDArray[np.float64], updates: int, rate: float) -> None:
    """Regress f to the k's of the better sign, weighted by what that is worth."""
    better = torch.as_tensor(gain).to(given)[:, None]
    worth = better.abs() / better.abs().mean().clamp_min(torch.finfo(better.dtype).tiny)
    with torch.no_grad():
        goal = net.k_sets(given) * _signs(net, torch.where(better > 0, -1.0, 1.0).to(given))
        k0 = net.k0.clone()
    optimizer = torch.optim.Adam(net.k_net.parameters(), lr=rate)
    for _ in range(updates):
        loss = (worth * (k0 + net.k_net(given) - goal).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()


def _checked(net: ConditionedNet) -> ConditionedNet:
    last, k = net.gates[-1], net.gates[-1].k.detach()
    if last.matrix() is None or not torch.allclose(last.phi(-k), -last.phi(k)):
        raise ValueError(f"model must have signed gates, as of gate_class=SignedKGate; got {type(last).__name__}")
    if not all(parameter.requires_grad for parameter in net.k_net.parameters()):
        raise ValueError("model must train its f, but that stands still: see policy.train_only")
    return net
