"""How each method is trained, within one budget, and the policies that it answers with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import TransformReward
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from benchmarks.protocol.meta_environments import environments
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.single_pass.families import (
    DECISIONS,
    NUM_ENVS,
    SETTINGS,
    STEPS,
    EndsWithAFall,
    Family,
    worlds,
)
from nb_agents import FiLMGate, KGate, KGatedPolicy, SignedKGate, VectorEnvAdapter, distill, retrofit, turn_around
from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.maml import MAML, TRPOUpdate
from nb_agents.maml.actor import StackedActor

LABEL_SHARE = 0.2
"""Share of the budget of a teacher with a student that goes into the student's labels."""

FALL_SHARE = 0.02
"""Share of the costs that is added to their roots, so that a fall goes on to cost more the longer it is."""

FINE_TUNING = (5, 25)
"""Episodes in the target that the policy over all contexts is fine-tuned for."""

LABEL_EPOCHS = 15
"""Passes of a student over its labels after each round."""

META: dict[str, Any] = {
    "inner_steps": 2, "inner_lr": 0.1, "episodes_per_task": 3, "gamma": 0.8, "gae_lambda": 0.8,
    "outer": TRPOUpdate(max_kl=0.02), "normalize_observations": False,
}  # fmt: skip
"""MAML's settings; chosen on seeds 0 to 5, as `SETTINGS` are."""

SHORT_META = META | {"inner_lr": 0.05}
"""Those of the MAML that is given one episode for each inner step, by the best of its first five episodes; training it
with one, which leaves most inner gradients to chance, was worse than with three."""

INNER_STEPS = 5


@dataclass
class Answer:
    """A policy, or a list of one for each context, the name of its row, what it sees, and what it has cost.

    Steps are decisions in all trainings, labels included; for the other costs see `Scores`, and `play` for the last.
    """

    role: str
    policies: Any
    view: str
    steps: int
    numbers: int = 0
    episodes: int = 0
    gradient_steps: int = 0
    remembers: bool = False


class NumbersNet(ConditionedNet):
    """The control of conditioned gates: the same numbers of the same f, as inputs of the first layer."""

    @classmethod
    def instead_of(cls, net: ConditionedNet) -> NumbersNet:
        """The network with its gates' k's as inputs; the gates stay as holders of k0, and multiply nothing."""
        layers = net.layers
        first: Any = layers[0]
        layers[0] = nn.Linear(first.in_features + sum(len(gate.k) for gate in net.gates), first.out_features)
        return cls(layers, net.main.tolist(), net.given.tolist(), net.k_net)

    def run(self, x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """See `ConditionedNet.run`."""
        x = torch.cat([x, k], dim=1)
        for layer in self.layers:
            x = layer.activation(x) if isinstance(layer, KGate) else layer(x)
        return x


class NumbersPolicy(KGatedPolicy):
    """A policy with a `NumbersNet`."""

    def _condition(self, owner: Any, name: str, extractor: nn.Module) -> None:
        super()._condition(owner, name, extractor)
        setattr(owner, name, NumbersNet.instead_of(getattr(owner, name)))


CONDITIONED: dict[str, dict[str, Any]] = {
    "signed": {"gate_class": SignedKGate},
    "sigma": {},
    "film": {"gate_class": FiLMGate},
    "signed-layer": {"gate_class": SignedKGate, "block_size": None},
    "numbers": {"k_init": 0.0},
}
"""The methods with a teacher that is told the context, and the arguments of its policy."""

F_OF_CONTEXT: dict[str, Any] = {"k_from": "context", "k_net": (64,), "k_lr_ratio": 2.0}
"""What all conditioned policies share."""


def answers(method: str, family: Family, seed: int, decisions: int) -> Iterator[Answer]:
    """Train a method within a number of decisions, and hand out its policies; what is no whole rollout is left over."""
    if method in CONDITIONED:
        yield from _teacher_and_student(method, family, seed, decisions)
    elif method in ("maml", "maml-short"):
        yield from _meta(method, family, seed, decisions)
    elif method == "fine-tune":
        yield from _fine_tuned(_train(family, "", seed, decisions), family, seed)
    elif method in ("retrofit", "retrofit-turned"):
        yield from _retrofitted(method, family, seed, decisions)
    elif method == "oracle":
        models = [_train(family, "", seed, decisions, context=context) for context in family.contexts]
        steps, updates = models[0].num_timesteps, models[0].num_timesteps * SETTINGS.n_epochs // SETTINGS.batch_size
        policies = [each.policy for each in models]
        yield Answer("oracle", policies, "", steps, _acting(policies[0]), steps // DECISIONS, updates)
    else:
        view = method if method in ("context", "history") else ""
        model = _train(family, view, seed, decisions, recurrent=method == "recurrent")
        told = len(family.ranges) if view == "context" else 0
        yield Answer(method, model.policy, view, model.num_timesteps, numbers=told)


def _train(family: Family, view: str, seed: int, decisions: int, *, policy: Any = "MlpPolicy",
           context: Any = None, recurrent: bool = False, **policy_kwargs: Any) -> Any:  # fmt: skip
    settings = family.settings
    env = _normalised(worlds(family, view, NUM_ENVS, **(context or family.training())), settings.gamma)
    if recurrent:
        from sb3_contrib import RecurrentPPO

        # Whole episodes are padded to the longest of a batch: smaller ones would cost five times as much.
        own = settings.arguments() | {"n_steps": DECISIONS, "batch_size": 300}
        own["policy_kwargs"] |= {"lstm_hidden_size": 64}
        model: Any = RecurrentPPO("MlpLstmPolicy", env, seed=seed, device="cpu", **own)
    else:
        model = settings.build(policy, env, policy_kwargs, seed)
    whole = model.n_steps * model.n_envs
    without_log_folder(model).learn(max(1, decisions // whole) * whole)
    return model


def evened(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rewards that every method trains on: −√c − 0.02 c, of what a decision costs, c.

    A fall in one context costs ten thousand times what holding does in another, and would decide all that is learned.
    It was chosen on tuning seeds of M beside rewards clipped at half their deviation: MAML and all that are told the
    context learned more from it, and the others about as much.
    """
    return -np.sqrt(-rewards) + FALL_SHARE * rewards


def _trained_on(env: VectorEnv[Any, Any, Any]) -> EndsWithAFall:
    """The pendulums as every method trains on them."""
    return EndsWithAFall(TransformReward(env, evened))


def _normalised(env: Any, gamma: float) -> VecNormalize:
    return VecNormalize(VectorEnvAdapter(_trained_on(env)), norm_obs=False, gamma=gamma)


def _teacher_and_student(method: str, family: Family, seed: int, decisions: int) -> Iterator[Answer]:
    labels = int(LABEL_SHARE * decisions)
    policy = NumbersPolicy if method == "numbers" else KGatedPolicy
    kwargs = F_OF_CONTEXT | CONDITIONED[method]
    teacher = _train(family, "context", seed, decisions - labels, policy=policy, **kwargs)
    numbers = len(next(conditioned_nets(teacher.policy)).k0)
    yield Answer(method, teacher.policy, "context", teacher.num_timesteps, numbers)
    rounds = max(1, labels // (NUM_ENVS * DECISIONS))  # an episode each
    labels = rounds * NUM_ENVS * min(DECISIONS, labels // NUM_ENVS)
    env = worlds(family, "context", NUM_ENVS, **family.training())
    student = distill(teacher, env, labels, steps=STEPS, rounds=rounds, n_epochs=LABEL_EPOCHS, seed=seed)
    yield Answer(f"{method}-student", student, "", teacher.num_timesteps + labels, numbers, remembers=True)


def _retrofitted(method: str, family: Family, seed: int, decisions: int) -> Iterator[Answer]:
    """Conditioned gates on weights that trained without any, in one context or in all; half of the steps each."""
    one = {"torque_gain": 1.0} | {name: float(np.mean(ends)) for name, ends in family.drawn.items()}
    turned = method == "retrofit-turned"
    for role, context in ((method, one),) if turned else (("retrofit-one", one), ("retrofit-all", None)):
        model = _train(family, "", seed, decisions // 2, context=context)
        env = _normalised(worlds(family, "context", NUM_ENVS, **family.training()), family.settings.gamma)
        made = retrofit(model, env=env, gate_class=SignedKGate, **F_OF_CONTEXT)
        made.policy.train_only("gates", log_std=True)
        made.set_random_seed(seed)
        tried = turn_around(made, seed=seed).steps if turned else 0
        made.learn(max(1, model.num_timesteps - tried), reset_num_timesteps=False)
        steps = made.num_timesteps + tried
        yield Answer(role, made.policy, "context", steps, len(next(conditioned_nets(made.policy)).k0))


def _fine_tuned(model: PPO, family: Family, seed: int) -> Iterator[Answer]:
    """Copies of a policy, each trained on in one context, five episodes at a time."""
    settings = family.settings
    own = settings.arguments() | {"n_steps": DECISIONS, "batch_size": DECISIONS}
    kwargs = own.pop("policy_kwargs")
    found: dict[int, list[Any]] = {episodes: [] for episodes in FINE_TUNING}
    for context in family.contexts:
        env = _normalised(worlds(family, "", FINE_TUNING[0], **context), settings.gamma)
        env.ret_rms = copy.deepcopy(model.get_env().ret_rms)  # type: ignore[union-attr]  # in the critic's units
        tuned = without_log_folder(PPO("MlpPolicy", env, policy_kwargs=kwargs, seed=seed, device="cpu", **own))
        tuned.policy.load_state_dict(model.policy.state_dict())
        for episodes, policies in found.items():
            tuned.learn(episodes * DECISIONS - tuned.num_timesteps, reset_num_timesteps=False)
            policies.append(_copied(tuned.policy))
    for episodes, policies in found.items():
        updates = episodes * settings.n_epochs
        yield Answer(
            f"fine-tune-{episodes}", policies, "", model.num_timesteps, _acting(model.policy), episodes, updates
        )


def _meta(method: str, family: Family, seed: int, decisions: int) -> Iterator[Answer]:
    plain = environments(family.settings, RunningMeanStd(shape=()), {})
    made = replace(plain, make_vec=lambda num_envs, **context: _trained_on(plain.make_vec(num_envs, **context)))
    own = SHORT_META if method == "maml-short" else META
    own = own | {"policy_kwargs": family.settings.arguments()["policy_kwargs"], "seed": seed, "device": "cpu"}
    maml = MAML("MlpPolicy", made, family.tasks, tasks_per_iteration=max(2, len(family.gains)), **own)
    each = maml.rollouts_per_iteration * maml.n_envs * DECISIONS
    without_log_folder(maml).learn(max(1, decisions - each))  # it stops at the first iteration beyond
    episodes = 1 if method == "maml-short" else maml.episodes_per_task
    yield from _adapted(maml, family, seed, episodes, [f"{method}-{k}" for k in range(INNER_STEPS + 1)])


def _adapted(maml: MAML, family: Family, seed: int, episodes: int, roles: Sequence[str]) -> Iterator[Answer]:
    """What `MAML.adapt` does, for all contexts at once and without a critic, which nobody needs here."""
    adapted, _ = maml._run(family.contexts, len(roles) - 1, episodes, seed, evaluate=False)
    for k, (role, parameters) in enumerate(zip(roles, adapted, strict=True)):
        policies = []
        for vector in parameters:
            policies.append(_copied(maml.policy))
            StackedActor(policies[-1]).set_vector(vector)
        yield Answer(role, policies, "", maml.num_timesteps, parameters.shape[1] if k else 0, k * episodes, k)


def _acting(policy: Any) -> int:
    return StackedActor(policy).n_params


def _copied(policy: Any) -> Any:
    """A policy that computes the same; one that has acted cannot be copied as it is."""
    copied = type(policy)(**policy._get_constructor_parameters())
    copied.load_state_dict(policy.state_dict())
    return copied
