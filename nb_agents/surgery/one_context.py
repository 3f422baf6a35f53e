"""A conditioned model in one context: a model with a plain k-gated policy, for a task that stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv

from nb_agents.policies.bare import bare_class
from nb_agents.surgery.rebuild import keep_frozen, rebuild
from nb_agents.surgery.worlds import known_statistics, take_over, without_context

Model = TypeVar("Model", bound=BaseAlgorithm)


def at(
    model: Model, context: ArrayLike | Mapping[str, float] | BasePolicy, env: GymEnv | VectorEnv[Any, Any, Any]
) -> Model:
    """A model of the same algorithm that acts as ``model`` does in one context, and is not told it.

    Its policy is ``model.policy.at(context)``, a plain k-gated one, so that the model goes on learning by its k's
    alone, folds, exports, is transferred and kept in a battery::

        known = nb_agents.at(teacher, [-1.0], env)
        known.policy.train_only("gates")
        known.learn(10_000)

    Settings, counters, schedules and entropy coefficient are those of ``model``, and what is frozen there stays frozen.
    The optimizers keep their parameter groups and options and start with no moments; a replay buffer is empty.

    Args:
        model: SB3 model whose policy has ``k_from``; it is not changed.
        context: Numbers of the part ``k_from``, as the policy observes them, shape ``(n_given,)``, or values by the
            parameters' names, see `KGatedMixin.at`. Or a plain policy with the layers of the model's: what
            `StudentPolicy.at` gave, or a search has `Found`.
        env: Environment that shows what ``model`` observes without that part. Where the model's has a `VecNormalize` of
            observations it needs one, too, which is given the model's statistics if it has seen nothing yet.

    Raises:
        TypeError: If ``model`` is no SB3 model, or ``context`` is a policy whose k's are no parameters.
        ValueError: If the model's k's are not computed from a part of the observation, ``context`` does not fit it, or
            ``env`` shows something else than the rest, or standardised otherwise.
    """
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be a Stable-Baselines3 model, got {type(model).__name__}")
    policy: Any = model.policy
    if not getattr(policy, "k_from", None):
        raise ValueError("model must have a policy with k_from, a part of the observation")
    plain: Any = context if isinstance(context, BasePolicy) else policy.at(context)
    if getattr(plain, "k_from", ()) is not None:
        raise TypeError(f"context must be numbers or a k-gated policy without k_from, got a {type(plain).__name__}")
    worlds = without_context(model, env)
    statistics = known_statistics(model, worlds)

    def fill(new: Any) -> None:
        state = plain.state_dict()
        shapes = [{name: value.shape for name, value in each.items()} for each in (new.state_dict(), state)]
        if differing := {name for name, _ in shapes[0].items() ^ shapes[1].items() if "_extra_state" not in name}:
            raise ValueError(f"context must be a policy with the layers of the model's; others are {sorted(differing)}")
        new.load_state_dict(state)
        keep_frozen(new, policy)

    kwargs = {name: value for name, value in model.policy_kwargs.items() if name not in ("k_from", "k_net")}
    kwargs |= bare_class(policy)[1] | {"task_difficulty": plain.task_difficulty}
    made = rebuild(model, type(plain), kwargs, fill, worlds)
    take_over(statistics)
    return made  # type: ignore[no-any-return]
