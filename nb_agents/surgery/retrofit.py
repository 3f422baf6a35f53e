"""k-gates for a model that was trained without them."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv

from nb_agents.adapters.lora import lora_layers, lora_parameters, merge_lora
from nb_agents.gates.gate import named_gates
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.usage import gated_classes
from nb_agents.surgery.conditioning import with_computed_k
from nb_agents.surgery.copies import copy_of
from nb_agents.surgery.networks import absorb_in_policy
from nb_agents.surgery.rebuild import keep_frozen, plain_name, rebuild
from nb_agents.surgery.sameness import policy_difference
from nb_agents.surgery.weights import FoldError

Model = TypeVar("Model", bound=BaseAlgorithm)


def retrofit(
    model: Model,
    block_size: int | None = 16,
    *,
    policy_class: type[BasePolicy] | None = None,
    k_from: str | None = None,
    env: GymEnv | VectorEnv[Any, Any, Any] | None = None,
    **gate_kwargs: Any,
) -> Model:
    """A k-gated model that acts as ``model`` does, ready to be adapted or to go on learning.

    The gates start at exactly 1 and every weight is the model's, so all networks compute the same to the last bit.
    Where ``k_init`` or ``gate_max`` put the gates elsewhere, weights are divided by them: equal up to rounding. Either
    is checked on samples of the observation space. Settings, counters, schedules, log-std and entropy coefficient are
    those of ``model``, and what is frozen there stays frozen; environment and replay buffer are shared with it. The
    policy's optimizers keep their parameter groups and options, and start with no moments; the k's get own groups.

    With ``lora_rank=4`` there are low-rank adapters on the actor's layers besides, which begin at 0. Then
    ``made.policy.train_only("lora")`` trains them alone, and the gates stand still at 1.

    With ``k_from`` the gates are conditioned ones, on weights that never knew of any. Then
    ``made.policy.train_only("gates")`` and ``made.learn(...)`` train k0 and f over the contexts of ``env``::

        made = retrofit(model, gate_class=SignedKGate, k_from="context", env=ContextObservation(env, {"A": (1.0, 1.8)}))

    Weights that hold one sign of an actuator are not turned around by training their k's: call `nb_agents.turn_around`
    first. `docs/guides/single-pass.md` says how far that goes beside gates that were there from the start.

    Args:
        model: A model of SB3, or of sb3-contrib where that is installed, trained or loaded from a file (RL zoo's too).
        block_size: Units per block gate; None for layer gates alone.
        policy_class: The k-gated class, for models with a policy class of your own.
        k_from: Part of the observations of ``env`` that the k's are to be computed from, see `KGatedMixin`. f starts at
            0, so that the result acts as ``model`` does whatever the part says. The layers see the rest, and a critic
            everything, with no weight on the part yet.
        env: Environment of the result, which shows the part beside what ``model`` observes; only with ``k_from``. Where
            the model's has a `VecNormalize` of observations it needs one, too, which is given the model's statistics if
            it has seen nothing yet: ``VecNormalize(env, norm_obs_keys=["observation"])``, of a dictionary.
        **gate_kwargs: Further arguments of `KGatedMixin`.

    Raises:
        TypeError: If ``model`` is no SB3 model, or an argument is unknown or of the wrong kind.
        ValueError: If its policy is gated already, of an unknown class or without hidden layers, an argument is out of
            its range, or ``env`` shows something else than the part beside what ``model`` observes.
        FoldError: If the gates are not to start at 1 and the weights cannot be divided (it names the gates), or if the
            result does not compute the same.
    """
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be a Stable-Baselines3 model, got {type(model).__name__}")
    if isinstance(model.policy, KGatedMixin):
        raise ValueError(f"model must be without k-gates, but its policy is a {type(model.policy).__name__}")
    known = gated_classes(type(model))
    target = policy_class or known.get(type(model.policy))
    if target is None:
        raise ValueError(
            f"no k-gated class for {type(model.policy).__name__}: pass policy_class, a class of yours with KGatedMixin "
            f"(known of {type(model).__name__}: {', '.join(each.__name__ for each in known)})"
        )
    if not (isinstance(target, type) and issubclass(target, KGatedMixin)):
        raise TypeError(f"policy_class must be a class that extends KGatedMixin, got {target!r}")
    if k_from is None and env is not None:
        raise ValueError(f"env is for k_from, a part of its observations, and must be None without; got {env!r}")
    if k_from is not None:
        later: dict[str, Any] = {
            name: gate_kwargs.pop(name) for name in ("k_net", "task_difficulty") if name in gate_kwargs
        }
        gated = retrofit(model, block_size, policy_class=policy_class, **gate_kwargs)
        return with_computed_k(gated, model, k_from, env, later)  # type: ignore[no-any-return]
    arguments = {"block_size": block_size, **gate_kwargs}

    def fill(policy: BasePolicy) -> None:
        gates = dict(named_gates(policy))
        if not gates and not lora_layers(policy):
            raise ValueError("model's policy has no hidden layer that could be gated")
        policy.load_state_dict(_gated_state(model.policy, policy, list(gates)))
        keep_frozen(policy, model.policy)
        if not all(gate.gate().eq(1).all() for gate in gates.values()):
            plain = merge_lora(copy_of(policy))  # its adapters begin at 0
            absorb_in_policy(plain, inverse=True)
            state, adapted = plain.state_dict(), lora_layers(policy)
            divided = {
                key: state.get(plain_name(key, (), adapted), value) for key, value in policy.state_dict().items()
            }
            policy.load_state_dict(divided)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "net_arch has no hidden layer")  # here it is an error, see above
        gated_model = rebuild(model, target, {**model.policy_kwargs, **arguments}, fill)
    if differs := policy_difference(model.policy, gated_model.policy):
        raise FoldError(f"{target.__name__} does not compute what the model's policy does: {differs}")
    return gated_model  # type: ignore[no-any-return]


def _gated_state(plain: BasePolicy, new: BasePolicy, gates: list[str]) -> dict[str, torch.Tensor]:
    """``plain``'s state under the names of the k-gated policy, with the adapters and regulariser of that policy."""
    state, adapted = dict(plain.state_dict()), lora_layers(new)
    factors = {f"{path}.{name}" for path, layer in adapted.items() for name, _ in lora_parameters(layer)}
    result = {}
    for key, value in new.state_dict().items():
        own = key.startswith("regularizer.") or key.removesuffix(".k") in gates or key in factors
        result[key] = value if own else state.pop(plain_name(key, gates, adapted), value)
    if state:
        raise ValueError(f"{type(new).__name__} has no place for {sorted(state)} of the model's policy")
    return result
