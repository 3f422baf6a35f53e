"""Methods that train a policy with an SB3 algorithm and go on with the same algorithm on the target."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.methods.kinds.base import Method, Pretrained, task_difficulty
from benchmarks.protocol.settings import AlgorithmSettings, PPOSettings
from benchmarks.protocol.spec import RunSpec, Source

if TYPE_CHECKING:  # imported where they are used: none is needed to read results
    import torch
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from benchmarks.protocol.recorder import Recorder

GATED = {"ppo": "KGatedPolicy", "sac": "KGatedSACPolicy"}
"""The k-gated policy of each algorithm, by its name in `nb_agents`."""

HIDDEN_LAYERS = {"ppo": "mlp_extractor.policy_net", "sac": "actor.latent_pi"}
"""Path of the actor's hidden layers in a policy."""


@dataclass(frozen=True, kw_only=True)
class GradientMethod(Method):
    """An SB3 algorithm that trains on the source and goes on on the target.

    Attributes:
        gated: Whether the policy has k-gates.
        block_size: Units per block gate; None for layer gates alone.
        folded: Whether an ungated policy starts as the gated one with its gates folded away.
        gates: Further arguments of the k-gated policy.
        signed: Whether the gates are signed, with the library's defaults in place of the paper's: they start at 1.
        neutral: Whether the weights behind the gates are divided by them at the start, so that the untrained gated
            policy computes what the ungated one does.
        told: Ranges of the context's parameters that the k's are computed from; empty for k's that are parameters.
        lora_rank: Rank of the low-rank adapters that are put into an ungated policy, and train alone; None for none.
        clips: Whether PPO clips the gradient's norm, as its settings say.
    """

    gated: bool = False
    block_size: int | None = None
    folded: bool = False
    gates: Mapping[str, Any] = field(default_factory=dict)
    signed: bool = False
    neutral: bool = False
    told: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lora_rank: int | None = None
    clips: bool = True

    def check(self, spec: RunSpec) -> None:
        """See `Method.check`."""
        if self.told and spec.detail:
            raise ValueError(f"{spec.method} is told the context, as a sequence tells it, but no transfer")

    def gate_arguments(self) -> dict[str, Any]:
        """Arguments of the k-gated policy beside the paper's."""
        return {"block_size": self.block_size, **self._kind(), **self.gates}

    def _kind(self) -> dict[str, Any]:
        from nb_agents import SignedKGate

        own = {"gate_class": SignedKGate, "gate_max": 2.0, "k_init": None, "k_target_weight": 0.0}
        return (own if self.signed else {}) | ({"k_from": "context"} if self.told else {})

    def build(self, spec: RunSpec, env: VecEnv, settings: AlgorithmSettings, tau: float) -> BaseAlgorithm:
        """The algorithm with this method's policy, untrained; gates start with the first task's difficulty."""
        import nb_agents
        from nb_agents.surgery.networks import absorb_in_policy

        if not self.clips and isinstance(settings, PPOSettings):
            settings = replace(settings, max_grad_norm=math.inf)
        gated = None
        if self.gated or self.folded:
            policy_kwargs = {**nb_agents.PAPER, "task_difficulty": tau, **self.gate_arguments()}
            gated = settings.build(getattr(nb_agents, GATED[spec.algo]), env, policy_kwargs, spec.seed)
        if self.neutral and gated is not None:
            absorb_in_policy(gated.policy, inverse=True)
        if self.gated and gated is not None:
            return gated
        plain = settings.build("MlpPolicy", env, {}, spec.seed)
        if gated is not None:
            plain.policy.load_state_dict(nb_agents.fold_gates(gated.policy).state_dict())
        return plain

    def pretrain(self, spec: RunSpec) -> Pretrained:
        """Train on the source."""
        from benchmarks.protocol.environments import make_training_env
        from benchmarks.protocol.recorder import Recorder

        env = make_training_env(spec.settings, spec.source, shown=self.told)
        recorder = Recorder(spec, follow=spec.detail)
        model = self.build(spec, env, spec.settings, task_difficulty(spec.middle))
        recorder.train(model, spec.pretrain_episodes)
        recorder.evaluate(model)
        return Pretrained(model, env.ret_rms, recorder.curve)

    def begin_transfer(self, spec: RunSpec, pretrained: Pretrained | None, recorder: Recorder) -> BaseAlgorithm:
        """Move to the target: a fresh environment and buffer, fresh random numbers, the new task's difficulty.

        All optimizers forget their moments; SAC's entropy coefficient goes on from the value that it has.

        With `adapts="gates"` nothing that decides the deterministic action trains, except the k's, and with "lora"
        nothing except the adapters. Critics and the spread of the exploration train on: the algorithms need them to
        learn, and no deployed policy contains them.
        """
        from benchmarks.protocol.environments import make_training_env
        from nb_agents import KGatedMixin, retrofit

        env = make_training_env(spec.transfer_settings, self._trains_on(spec), spec.source, shown=self.told)
        if pretrained is None:
            return self.build(spec, env, spec.transfer_settings, task_difficulty(spec.target))
        env.ret_rms = copy.deepcopy(pretrained.rewards)  # the scale of the rewards goes on from where it is
        model = _duplicate(pretrained.model, env, spec.seed)
        for optimizer in _optimizers(model):
            optimizer.state.clear()
        if self.lora_rank is not None:
            model = retrofit(model, None, lora_rank=self.lora_rank)
        policy: Any = model.policy
        if isinstance(policy, KGatedMixin):
            policy.task_difficulty = task_difficulty(spec.target)
            if self.adapts in ("gates", "lora"):
                policy.train_only(self.adapts, log_std=True)
        elif self.adapts == "head":
            policy.get_submodule(HIDDEN_LAYERS[spec.algo]).requires_grad_(False)
        return model

    def _trains_on(self, spec: RunSpec) -> Source:
        return spec.target


@dataclass(frozen=True, kw_only=True)
class RandomisedMethod(GradientMethod):
    """Domain randomisation: the whole budget goes to contexts between source and target, and nothing adapts."""

    pretrains: bool = False
    adapts: str | None = None

    def _trains_on(self, spec: RunSpec) -> Source:
        return spec.between

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Train; the episodes are none of the target's, so they are not kept."""
        recorder.train(model, spec.pretrain_episodes + spec.transfer_episodes)
        recorder.episodes.clear()


def _duplicate(model: BaseAlgorithm, env: VecEnv, seed: int) -> BaseAlgorithm:
    """A copy of a model by way of SB3's own file, with fresh random numbers and an empty replay buffer."""
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    duplicate: BaseAlgorithm = type(model).load(file, env=env, device=model.device)
    # SB3 seeds with the constructor's seed again, which would repeat the numbers that the pretraining began with.
    duplicate.set_random_seed(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    env.seed(seed)
    return duplicate


def _optimizers(model: BaseAlgorithm) -> Iterator[torch.optim.Optimizer]:
    """All of a model's: the policy's or those of its parts, and SAC's of the entropy coefficient."""
    owners: tuple[Any, ...] = (model.policy, *model.policy.children(), model)
    for owner in owners:
        for name in ("optimizer", "ent_coef_optimizer"):
            if getattr(owner, name, None) is not None:
                yield getattr(owner, name)
