"""One policy and a k-set for each robot: all of them adapt at once, in one of SB3's ``learn()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from nb_agents.adapters.acting import acting_modules
from nb_agents.adapters.lora import lora_layers
from nb_agents.battery.battery import Battery
from nb_agents.gates.gate import KGate
from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.inference.normalization import normalizing
from nb_agents.inference.row_k_sets import RowKSets
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.optim import optimized_parts
from nb_agents.policies.usage import check_learns_by_backward
from nb_agents.surgery.conditioning import with_computed_k
from nb_agents.vec_env.adapter import VectorEnvAdapter
from nb_agents.vec_env.row_normalize import RowNormalize
from nb_agents.vec_env.rows import ROW, RowObservation

Model = TypeVar("Model", bound=BaseAlgorithm)


def fleet(model: Model, env: VecEnv | VectorEnv[Any, Any, Any]) -> Model:
    """A model with a k-set for each row of a vector environment, all of which one ``learn()`` trains at once.

    Every row is a robot with dynamics of its own. The weights stand still, and so do k0, the spread of actions, and the
    scales of observations; each row's loss moves its own k-set, which starts at the model's. So what was learned goes
    into a battery of the weights that the model had before::

        robots = nb_agents.fleet(model, VectorEnvAdapter(gym.make_vec("NBPendulum-v0", 64, A=amplitudes)))
        robots.learn(64 * 1_000)
        battery = nb_agents.fleet_battery(robots)
        with battery.per_row(range(64)):
            actions, _ = battery.network.predict(observations, deterministic=True)

    Each robot learns as it would by itself, as far as SB3's loops allow. ``batch_size`` and an off-policy algorithm's
    ``learning_starts`` become larger by as much as there are more environments, so that a row has as many samples in a
    gradient step as before. A row's share of a batch makes its gradient small, and the optimizer's ``eps`` is divided
    by the number of rows, which makes the steps of its k-set those of an undiluted one. In an on-policy algorithm each
    row's rewards are scaled by the row's own returns (`RowNormalize`), because advantages are normalized over all rows.
    All rows share the critic, which is told the row, the clipping of the gradient, and an entropy coefficient.

    It acts only on what `RowObservation` shows. To load a saved one, and to train it on, wrap the environment in
    that: ``PPO.load(path, env=RowObservation(RowNormalize(env, gamma=...)))``.

    Args:
        model: SB3 model with a k-gated policy whose k's are parameters; it is not changed.
        env: The robots, row by row: what ``model`` observes, without a `VecNormalize`. Where the model's environment
            has one, its scales of observations are put around ``env``.

    Returns:
        A model of the same algorithm with settings and counters of ``model``; buffers and optimizers start afresh.

    Raises:
        TypeError: If ``model`` is no SB3 model with a k-gated policy, its algorithm takes no gradient by
            ``backward()``, ``env`` is no vector environment, or an optimizer is neither an Adam nor an RMSprop.
        ValueError: If the model's k's are computed, gates stand in its features extractor, ``env`` has other spaces or
            a `VecNormalize`, or the model is off-policy and has one.
    """
    policy = _checked(model)
    worlds = VectorEnvAdapter(env) if isinstance(env, VectorEnv) else env
    if not isinstance(worlds, VecEnv):
        raise TypeError(f"env must be a Gymnasium VectorEnv or an SB3 VecEnv, a robot in each row, got {env!r}")
    if unwrap_vec_normalize(worlds) is not None:
        raise ValueError("env must be without a VecNormalize: fleet puts a RowNormalize around it, got one that has")
    for name in ("observation_space", "action_space"):
        space, known = getattr(worlds, name), getattr(model, name)
        if space != known:
            raise ValueError(f"env must have the {name} of the model, {known}, got {space}")
    rows = RowObservation(_normalized(model, worlds))
    arguments = {"k_net": RowKSets, "task_difficulty": policy.task_difficulty}
    made: Any = with_computed_k(model, model, ROW, rows, arguments)
    for net in conditioned_nets(made.policy):
        net.hold_k0()
    made.policy.train_only("gates")
    _undilute(made.policy, worlds.num_envs)
    for name in ("batch_size", "learning_starts"):
        if hasattr(made, name):
            setattr(made, name, max(1, round(getattr(model, name) * worlds.num_envs / model.n_envs)))
    if model.seed is not None:
        rows.seed(model.seed)
    return made  # type: ignore[no-any-return]


def fleet_battery(model: BaseAlgorithm, names: Sequence[str] | None = None) -> Battery:
    """The k-sets of a fleet in a battery, whose ``network`` is a plain k-gated policy with the fleet's weights.

    ``battery.per_row(range(n))`` acts with all of them. The k-sets are for the model that the fleet was made of, too:
    ``battery.save(path)`` and ``Battery.load(path, model)``.

    Args:
        model: Model that `fleet` has made.
        names: Names of the rows' k-sets in order, each another one; None for ``"robot 0"`` and so on.

    Raises:
        TypeError: If ``model`` is no SB3 model, or ``names`` are no texts.
        ValueError: If ``model`` is no fleet, or ``names`` are not one for each row or not unique.
    """
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be an SB3 model that nb_agents.fleet made, got {type(model).__name__}")
    policy: Any = model.policy
    nets = [module for _, module in acting_modules(policy) if isinstance(module, ConditionedNet)]
    if not nets or not isinstance(nets[0].k_net, RowKSets):
        raise ValueError(f"model must be one that nb_agents.fleet made, got one with a {type(policy).__name__}")
    rows = nets[0].k_net.each_row()
    names = _names(names, len(rows))
    battery = Battery(policy.at(rows[0].cpu().numpy()))
    with torch.no_grad():
        k_sets = nets[0].k_sets(rows)
    for i, (name, k) in enumerate(zip(names, k_sets, strict=True)):
        battery.add(name, k, {ROW: i})
    return battery


def _names(names: Any, n: int) -> list[str]:
    if names is None:
        return [f"robot {i}" for i in range(n)]
    is_sequence = isinstance(names, Sequence) and not isinstance(names, str)
    if not is_sequence or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a sequence of texts, one for each row, got {names!r}")
    given = list(names)
    if len(given) != n:
        raise ValueError(f"names must be {n}, one for each row, got {len(given)}")
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise ValueError(f"names must be unique, got {twice} more than once")
    return given


def _checked(model: Any) -> Any:
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be a Stable-Baselines3 model, got {type(model).__name__}")
    policy: Any = model.policy
    if not isinstance(policy, KGatedMixin):
        raise TypeError(f"model must have a k-gated policy, got one with {type(policy).__name__}: nb_agents.retrofit "
                        "gives it gates without changing what it computes")  # fmt: skip
    if policy.k_from is not None:
        raise ValueError(f"model must have k's that are parameters, got k_from={policy.k_from!r}: nb_agents.at makes "
                         "such a model for one context")  # fmt: skip
    if lora_layers(model.policy):
        raise ValueError("model must be without low-rank adapters, which rows would share: fold_gates merges them")
    acting = [path for path, module in acting_modules(policy) if isinstance(module, KGate)]
    if not acting:
        raise ValueError(f"model must have gates, got a {type(policy).__name__} without a hidden layer")
    if shared := [path for path in acting if "features_extractor" in path]:
        raise ValueError(f"model must have no gates in its features extractor, which rows share, got {shared}")
    check_learns_by_backward(model)
    for part in optimized_parts(policy).values():
        kind = getattr(part.optimizer, "plain_class", type(part.optimizer))
        if not issubclass(kind, _WITH_EPS):
            raise TypeError("model's optimizer must be an Adam or an RMSprop, whose steps do not depend on how large a "
                            f"gradient is, got {kind.__name__}")  # fmt: skip
    return policy


_WITH_EPS = (torch.optim.Adam, torch.optim.RMSprop, RMSpropTFLike)


def _normalized(model: Any, worlds: VecEnv) -> VecEnv:
    """The robots with the model's scales of observations, and rewards scaled row by row where that is for all rows."""
    present: VecNormalize | None = unwrap_vec_normalize(model.env) if model.env is not None else None
    if isinstance(model, OffPolicyAlgorithm):
        if present is not None:
            raise ValueError(f"model must have no VecNormalize in {type(model).__name__}, which replays observations "
                             "without rows")  # fmt: skip
        return worlds
    if not isinstance(model, OnPolicyAlgorithm):
        return worlds
    if not normalizing(model.env):
        return RowNormalize(worlds, gamma=model.gamma)
    assert present is not None
    if present.observation_space != worlds.observation_space or len(normalizing(model.env)) > 1:
        raise ValueError(
            "model must have one VecNormalize of what env shows, and no wrapper around it that changes that, got "
            f"{present.observation_space}"
        )
    scale: dict[str, Any] = {name: getattr(present, name) for name in ("clip_obs", "epsilon", "norm_obs_keys")}
    return RowNormalize(worlds, gamma=model.gamma, norm_obs=True, **scale)


def _undilute(policy: Any, n: int) -> None:
    """Let steps of a k-set be as large as if its row, one of ``n``, were the whole batch.

    Adam's step ``m / (sqrt(v) + eps)`` is the same for a gradient that is n times smaller if ``eps`` is so, too.
    """
    ks = {id(p) for net in conditioned_nets(policy) for p in net.k_net.parameters()}
    for part in optimized_parts(policy).values():
        inside = issubclass(getattr(part.optimizer, "plain_class", type(part.optimizer)), RMSpropTFLike)
        for group in part.optimizer.param_groups:
            if any(id(parameter) in ks for parameter in group["params"]):
                group["eps"] /= n * n if inside else n  # TensorFlow's stands beside v, below the root
