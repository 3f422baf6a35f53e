"""What a search of k's moves: the k's of a plain policy, or the context that a conditioned one computes them from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from nb_agents._objects import uncompiled
from nb_agents.battery.battery import Battery
from nb_agents.gates.gate import named_gates
from nb_agents.inference.conditioned import conditioned_nets

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """Numbers that are searched, and the plain policy that they make.

    Attributes:
        policy: A plain k-gated policy.
        start: The first candidate, shape ``(n,)``.
        sigma: First standard deviation of the search, unless another is asked for.
        bounded: Whether candidates lie in [−1, 1].
        values: Function that gives what the user calls them of a candidate: the context, or the k's.
        k: Function that gives the k-set of a candidate, shape ``(n_k,)``.
        make: Function that gives a plain policy of its own of a candidate.
    """

    policy: Any
    start: Floats
    sigma: float
    bounded: bool
    values: Callable[[Floats], Floats]
    k: Callable[[Floats], torch.Tensor]
    make: Callable[[Floats], Any]


def check_policy(model: Any) -> Any:
    """The k-gated policy of a model, or itself.

    Raises:
        TypeError: If it is none.
        ValueError: If it has no gates.
    """
    policy = uncompiled(model.policy if isinstance(model, BaseAlgorithm) else model)
    if not isinstance(policy, torch.nn.Module):
        raise TypeError(f"model must be a Stable-Baselines3 model or a k-gated policy, got {type(model).__name__}")
    if not any(named_gates(policy)):
        raise ValueError(f"model must have k-gates: nb_agents.retrofit gives it some; got {type(policy).__name__}")
    return policy


def middle_of(policy: Any, low: ArrayLike | None, high: ArrayLike | None) -> tuple[Floats, Floats] | None:
    """Middle of the box in which a context is searched, and half of its widths; None where k's are searched.

    Raises:
        ValueError: If the box does not fit the policy, or there is one and the k's are not computed.
    """
    nets = list(conditioned_nets(policy))
    if not nets:
        if low is not None or high is not None:
            raise ValueError("low and high must be None: the model's k's are parameters, and are searched themselves; "
                             f"got {low!r} and {high!r}")  # fmt: skip
        return None
    shape = tuple(nets[0].given.shape)
    ends = [np.asarray(np.nan if each is None else each, dtype=np.float64) for each in (low, high)]
    if any(each.shape != shape or not np.isfinite(each).all() for each in ends) or not (ends[0] < ends[1]).all():
        raise ValueError(f"low and high must be finite numbers of shape {shape}, low < high, got {low!r} and {high!r}: "
                         f"between them lies the context that the k's are computed from")  # fmt: skip
    return (ends[0] + ends[1]) / 2.0, (ends[1] - ends[0]) / 2.0


def the_context(conditioned: Any, plain: Any, middle: Floats, half: Floats) -> Subject:
    """The context as what is searched, in parts of its box.

    What f was trained on lies along few directions of the k's, so that few episodes do, and a context that is far away
    is as easy to reach as a near one. The middle of the box is tried first.

    Args:
        conditioned: Policy with ``k_from``.
        plain: The same in the context ``middle``.
        middle: Middle of the box, shape ``(n_given,)``.
        half: Half of its widths.
    """

    def values(x: Floats) -> Floats:
        return middle + half * x

    def k(x: Floats) -> torch.Tensor:
        return k_of(conditioned.at(values(x)))

    return Subject(plain, np.zeros(len(middle)), 0.5, True, values, k, lambda x: conditioned.at(values(x)))


def the_ks(policy: Any) -> Subject:
    """The k's themselves as what is searched; the policy's own are tried first."""
    arguments, state = policy._get_constructor_parameters(), policy.state_dict()

    def make(k: Floats) -> Any:
        with torch.random.fork_rng(devices=[]):
            twin: Any = type(policy)(**arguments)
        twin.load_state_dict(state)
        twin.to(policy.device).set_training_mode(False)
        put(twin, torch.as_tensor(k))
        return twin

    return Subject(policy, k_of(policy).double().cpu().numpy(), 2.0, False, np.copy, torch.as_tensor, make)


def k_of(policy: Any) -> torch.Tensor:
    """The k-set of a plain policy, shape ``(n_k,)``."""
    battery = Battery(policy)
    battery.capture("now")
    return battery["now"]


def put(policy: Any, k: torch.Tensor) -> None:
    """Give a plain policy a k-set."""
    battery = Battery(policy)
    battery.add("now", k)
    battery.apply("now")
