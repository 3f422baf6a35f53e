"""A policy for pictures that is trained on the plain look, and what of it trains when the look is another one."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize, VecTransposeImage

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.pixels.question import PixelsResult, PixelsSpec
from nb_agents import KGate, SignedKGate, Transfer, VectorEnvAdapter, retrofit, transfer
from nb_agents.returns import episode_returns
from nb_evaluation.kept import kept, kept_name
from nb_evaluation.runs.provenance import versions
from nb_gym.wrappers.vector import PixelObservation

NUM_ENVS, STARTS = 8, 16
"""Environments of a training, and episodes in which a policy is measured."""

EVAL_SEED = 12_345
"""Seed of these episodes, the same for every run."""

SIZE = 36
"""Width and height of the pictures, pixels: the smallest that SB3's `NatureCNN` takes."""

SETTINGS: dict[str, Any] = {
    "n_steps": 50, "batch_size": 200, "n_epochs": 10, "learning_rate": 5e-4, "gamma": 0.8, "gae_lambda": 0.8,
    "max_grad_norm": 1.0, "device": "cpu",
}  # fmt: skip
"""PPO's of the source, and of all methods but for their rates; chosen on seed 0."""


class Adapter(NamedTuple):
    """What of the source trains.

    Attributes:
        part: Part of the actor, see `train_only`.
        rate: Learning rate of the weights; that of the k's is five times it.
        block_size: Channels or units of a block of gates; None for a gate for each layer.
        gate_class: Kind of the gates.
    """

    part: str
    rate: float
    block_size: int | None = None
    gate_class: type[KGate] = KGate


ADAPTERS: dict[str, Adapter] = {
    "nb-k": Adapter("gates", 1e-3),
    "nb-pro-k": Adapter("gates", 1e-3, 16),
    "nb-pro-signed-k": Adapter("gates", 1e-3, 16, SignedKGate),
    "nb-channel-k": Adapter("gates", 4e-3, 1),
    "biases": Adapter("biases", 1e-3),
    "head": Adapter("head", 4e-3),
    "fine-tune": Adapter("all", 2.5e-4),
    "scratch": Adapter("all", 1e-3),
}
"""Each rate is the better of two in the looks `inverted` and `tilted` on seed 0: of 1e-3 and 4e-3, or of 2.5e-4 and
1e-3 where everything trains. `nb-k` and `nb-pro-signed-k` have that of `nb-pro-k`."""


def run(spec: PixelsSpec) -> PixelsResult:
    """Adapt to the look of a specification, and measure before and after."""
    begin = None if spec.method == "scratch" else source(spec.seed, spec.pretraining)
    if spec.method == "source":
        assert begin is not None
        before = measured(ppo(spec.seed, "plain", begin), spec.look)
        return PixelsResult(0, before, before)
    moved = adapt(spec, ADAPTERS[spec.method], begin)
    return PixelsResult(moved.n_trained, moved.returns_before.tolist(), moved.returns_after.tolist())


def adapt(spec: PixelsSpec, adapter: Adapter, begin: Source | None) -> Transfer:
    """Train a part of the source, or a new policy, on pictures of another look.

    Every method is a retrofit with gates of exactly 1; the gates of those that are not after k stand still. With k
    alone the spread of the exploration stands still as well, as `train_only` has it.
    """
    plain = ppo(spec.seed, "plain", begin, learning_rate=adapter.rate)
    model = retrofit(plain, adapter.block_size, gate_class=adapter.gate_class)
    policy: Any = model.policy
    if adapter.part != "gates":
        for gate in policy.gates.values():
            gate.k.requires_grad_(False)
    return transfer(
        without_log_folder(model),
        pictures(spec.look, NUM_ENVS),
        spec.decisions,
        adapter.part,
        normalize="freeze" if begin else "carry",  # the scale of rewards, which a new policy has yet to see
        eval_env=pictures(spec.look, STARTS),
        n_eval_episodes=STARTS,
        eval_seed=EVAL_SEED,
    )


def measured(model: PPO, look: str) -> list[float]:
    """Returns of the deterministic policy in a look, from the same starts for every policy."""
    returns: list[float] = episode_returns(model, VecTransposeImage(pictures(look, STARTS)), STARTS, EVAL_SEED).tolist()
    return returns


def pictures(look: str, num_envs: int) -> VectorEnvAdapter:
    """Pendulums that are seen in a look."""
    return VectorEnvAdapter(PixelObservation(gym.make_vec("NBPendulumControl-v0", num_envs), SIZE, look))


class Source(NamedTuple):
    """A trained policy.

    Attributes:
        state: Its parameters.
        rewards: Statistics that rewards are scaled by.
    """

    state: dict[str, torch.Tensor]
    rewards: RunningMeanStd


def ppo(seed: int, look: str, begin: Source | None = None, **own: Any) -> PPO:
    """PPO with SB3's policy for images, new or with the parameters of a source."""
    env = VecNormalize(pictures(look, NUM_ENVS), norm_obs=False, gamma=SETTINGS["gamma"])
    model = PPO("CnnPolicy", env, seed=seed, **{**SETTINGS, **own})
    if begin is not None:
        model.policy.load_state_dict(begin.state)
        env.ret_rms = begin.rewards.copy()
    return model


@lru_cache(maxsize=1)
def source(seed: int, decisions: int) -> Source:
    """The policy of the plain look; trained once on a machine, by whoever comes first."""
    name = kept_name("pixels", seed, decisions, SETTINGS, NUM_ENVS, SIZE, PixelsSpec.protocol, versions())
    return _read(kept(name, lambda: _trained(seed, decisions)))


def _trained(seed: int, decisions: int) -> bytes:
    model = without_log_folder(ppo(seed, "plain")).learn(decisions)
    env: Any = model.get_vec_normalize_env()
    arrays = {f"state.{name}": value.numpy() for name, value in model.policy.state_dict().items()}
    buffer = io.BytesIO()
    np.savez(buffer, rewards=[env.ret_rms.mean, env.ret_rms.var, env.ret_rms.count], **arrays)
    return buffer.getvalue()


def _read(content: bytes) -> Source:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        state = {name.removeprefix("state."): torch.as_tensor(file[name]) for name in file if name != "rewards"}
        rewards = RunningMeanStd(shape=())
        rewards.mean, rewards.var, rewards.count = file["rewards"]
    return Source(state, rewards)
