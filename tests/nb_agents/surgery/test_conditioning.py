"""Computed k's for a model that was trained without any: weights stay, k0 and f train over contexts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, CrossQ
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from nb_agents import ContextDifficulty, FiLMGate, KGate, SignedKGate, at, fold_gates, retrofit, searching
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.encoder import EncoderOf
from nb_gym.wrappers import HistoryObservation, vector
from tests.nb_agents.inference.models import OFF, batch, make_env, with_context
from tests.nb_agents.shared import Pictures, TwoTorques
from tests.nb_agents.surgery.test_searching import hidden

ON = {"n_steps": 8, "batch_size": 8}


def trained(algorithm: Any = PPO, settings: Any = ON, policy: str = "MlpPolicy") -> Any:
    env: Any = gym.make("NBPendulum-v0", episode_steps=100, frame_skip=20)
    env = TwoTorques(env) if algorithm in (DQN, QRDQN) else env
    kwargs = {"net_arch": [32, 32]}
    return algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **settings).learn(24)


def rest(observations: Any, *, key: bool) -> Any:
    return observations["observation"] if key else observations[:, :-2]


CASES: list[tuple[Any, Any, Any, bool]] = [
    *(
        (algorithm, settings, SignedKGate, False)
        for algorithm, settings in ((PPO, ON), (SAC, OFF), (TD3, OFF), (DQN, OFF), (CrossQ, OFF))
    ),
    *((algorithm, settings, KGate, True) for algorithm, settings in ((PPO, ON), (TQC, OFF), (QRDQN, OFF))),
    (PPO, ON, FiLMGate, False),
]


@pytest.mark.parametrize(("algorithm", "settings", "kind", "key"), CASES)
def test_it_acts_as_before_to_the_bit_and_then_only_k0_and_f_learn(
    algorithm: Any, settings: Any, kind: Any, key: bool
) -> None:
    plain = trained(algorithm, settings)
    before = {name: value.clone() for name, value in plain.policy.state_dict().items()}
    made = retrofit(plain, gate_class=kind, k_from="context", env=make_env(key=key, discrete=algorithm in (DQN, QRDQN)))
    observations = batch(made)
    for context in (1.0, -1.0):
        there = with_context(observations, context)
        acted = (plain.predict(rest(there, key=key), deterministic=True)[0], made.predict(there, deterministic=True)[0])
        np.testing.assert_array_equal(*acted)
    assert all(torch.equal(value, before[name]) for name, value in plain.policy.state_dict().items())
    assert made.num_timesteps == plain.num_timesteps
    made.policy.train_only("gates")
    made.learn(40, reset_num_timesteps=False)
    (net, *_) = conditioned_nets(made.policy)
    k = net.k_sets(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    assert (k[0] - k[1]).abs().min() > 0.0, "every k depends on the context by now"
    layers = {name: value for name, value in net.state_dict().items() if ".k" not in name and "k_net" not in name}
    assert all(any(torch.equal(value, old) for old in before.values()) for value in layers.values())


def test_critics_value_as_before_whatever_the_context_and_learn_to_see_it() -> None:
    plain = trained()
    made = retrofit(plain, k_from="context", env=make_env())
    there = batch(made)
    values = [p.predict_values(torch.as_tensor(o)) for p, o in ((plain.policy, there[:, :-2]), (made.policy, there))]
    torch.testing.assert_close(*values)
    made.policy.train_only("gates")
    made.learn(16)
    here, away = (made.policy.predict_values(torch.as_tensor(with_context(there, c))) for c in (1.0, -1.0))
    assert (here - away).abs().min() > 0.0


def test_it_is_saved_and_loaded_and_has_a_plain_policy_for_each_context(tmp_path: Path) -> None:
    difficulty = ContextDifficulty(1)
    made = retrofit(trained(), k_from="context", env=make_env(), k_net=(8,), task_difficulty=difficulty)
    made.learn(16)
    made.save(tmp_path / "model.zip")
    loaded, observations = PPO.load(tmp_path / "model.zip", device="cpu"), batch(made)
    acted = made.predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], acted)
    assert loaded.policy.regularizer.difficulty == difficulty
    there = with_context(observations, [0.5, 1.0])
    plain = fold_gates(made.policy.at([0.5, 1.0]))
    acted = made.predict(there, deterministic=True)[0]
    np.testing.assert_allclose(plain.predict(there[:, :-2], deterministic=True)[0], acted, atol=1e-5)


def test_other_gates_than_those_of_one_divide_the_weights_and_the_history_may_be_what_they_come_from() -> None:
    plain = trained()
    env = HistoryObservation(gym.make("NBPendulum-v0", episode_steps=100, frame_skip=20), 4)
    made = retrofit(plain, gate_max=None, k_init=0.25, k_from="history", env=env, k_net=EncoderOf(4, 16))
    observations = batch(made)
    acted = [m.predict(o, deterministic=True)[0] for m, o in ((plain, observations[:, :2]), (made, observations))]
    np.testing.assert_allclose(*acted, atol=1e-5)
    made.learn(16)


def test_a_native_vector_environment_and_another_number_of_them() -> None:
    plain = trained()
    envs = gym.make_vec("NBPendulum-v0", num_envs=3, episode_steps=100, frame_skip=20, torque_gain=(-1.0, 1.0))
    made = retrofit(plain, k_from="context", env=vector.ContextObservation(envs, {"torque_gain": (-1.0, 1.0)}))
    assert made.n_envs == 3
    made.learn(24)
    again = retrofit(plain, block_size=None)
    assert again.get_env() is plain.get_env(), "without k_from the environment stays"


@pytest.mark.parametrize(("algorithm", "settings"), [(PPO, ON), (SAC, OFF)])
def test_images_are_read_as_before(algorithm: Any, settings: Any) -> None:
    kwargs = {"net_arch": [32], "features_extractor_kwargs": {"features_dim": 24}}
    plain = algorithm("CnnPolicy", Pictures(told=False), policy_kwargs=kwargs, seed=0, device="cpu", **settings)
    frozen = next(p for name, p in plain.policy.named_parameters() if "features_extractor.cnn.0" in name)
    frozen.requires_grad_(False)
    made = retrofit(plain, k_from="context", env=Pictures(told=True))
    observations = batch(made)
    for context in (1.0, -1.0):
        there = with_context(observations, context)
        acted = [m.predict(o, deterministic=True)[0] for m, o in ((plain, there["observation"]), (made, there))]
        np.testing.assert_array_equal(*acted)
    cnn = {n: p for n, p in made.policy.named_parameters() if "extractors.observation.cnn.0" in n and n.endswith("ght")}
    assert not next(iter(cnn.values())).requires_grad, "what is frozen stays frozen"
    made.learn(16)
    known = at(made, [0.5, 0.5], Pictures(told=False))
    wanted = made.predict(with_context(observations, 0.5), deterministic=True)[0]
    np.testing.assert_allclose(known.predict(observations["observation"], deterministic=True)[0], wanted, atol=1e-5)
    with pytest.raises(ValueError, match="model must have SB3's FlattenExtractor or NatureCNN where env shows a dict"):
        retrofit(
            PPO("MlpPolicy", hidden(), policy_kwargs={"features_extractor_class": Own}, device="cpu"),
            k_from="context",
            env=make_env(key=True),
        )


class Own(FlattenExtractor):
    """Of the user's."""


def normalized(env: Any, **kwargs: Any) -> VecNormalize:
    return VecNormalize(DummyVecEnv([lambda: env]), **kwargs)


def test_a_normalization_goes_along_to_the_dictionary_and_back() -> None:
    """What is observed goes through the statistics that the model was trained with, and the part through none."""
    bare = {"episode_steps": 100, "frame_skip": 20}
    plain = PPO("MlpPolicy", normalized(gym.make("NBPendulum-v0", **bare)), seed=0, device="cpu", **ON).learn(24)
    raw = make_env(key=True)
    with pytest.raises(
        ValueError, match=r"env must have a VecNormalize .* which has one where env has none; a new one is"
    ):
        retrofit(plain, k_from="context", env=raw)
    worlds = normalized(raw, norm_obs_keys=["observation"], training=False)
    made = retrofit(plain, k_from="context", env=worlds)
    old: Any = plain.get_vec_normalize_env()
    shown: Any = worlds.reset()
    original: Any = worlds.get_original_obs()
    np.testing.assert_array_equal(shown["observation"], old.normalize_obs(original["observation"]))
    np.testing.assert_array_equal(shown["context"], original["context"])
    assert worlds.obs_rms["observation"] is not old.obs_rms, "a copy"
    acted = [m.predict(o, deterministic=True)[0] for m, o in ((made, shown), (plain, shown["observation"]))]
    np.testing.assert_array_equal(*acted)
    for settled in (at, searching):
        arguments = {"context": [0.0, 0.0]} if settled is at else {}
        back = normalized(gym.make("NBPendulum-v0", **bare))
        known: Any = settled(made, env=back, **arguments)
        np.testing.assert_array_equal(back.obs_rms.mean, old.obs_rms.mean)
        np.testing.assert_allclose(known.predict(shown["observation"], deterministic=True)[0], acted[0], atol=1e-5)
        with pytest.raises(ValueError, match="which has one where env has none"):
            settled(made, env=gym.make("NBPendulum-v0", **bare), **arguments)
        with pytest.raises(ValueError, match=r"\(clip_obs, epsilon\) = \(10.0, 1e-08\), as .* with \(5.0,"):
            settled(made, env=normalized(gym.make("NBPendulum-v0", **bare), clip_obs=5.0), **arguments)
    with pytest.raises(ValueError, match="which has none where env has one"):
        retrofit(trained(), k_from="context", env=worlds)


class OtherSpace(gym.ObservationWrapper[Any, Any, Any]):
    """Bounds that the model was not trained in."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    def observation(self, observation: Any) -> Any:
        return np.clip(observation, -1.0, 1.0)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"k_from": "context"}, TypeError, "env must be an environment that shows 'context' .* got None"),
        ({"env": "bare"}, ValueError, "env is for k_from"),
        ({"k_from": "context", "env": "bare"}, ValueError, "env must show 'context' beside other parts"),
        ({"k_from": "history", "env": "context"}, ValueError, "env must show 'history' beside other parts"),
        ({"k_from": "context", "env": "other"}, ValueError, "env must show 'context' beside what the model observes"),
        (
            {"k_from": "context", "env": "context", "k_net": lambda n, m: Constant(m)},
            ValueError,
            "does not compute what the model's policy does",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], error: type[Exception], message: str) -> None:
    from nb_gym.wrappers import ContextObservation

    bare: Any = gym.make("NBPendulum-v0", episode_steps=100, frame_skip=20)
    envs = {
        "bare": bare,
        "context": make_env(),
        "other": ContextObservation(OtherSpace(bare), {"A": (1.0, 1.5), "torque_gain": (-1.0, 1.0)}),
    }
    given = given | ({"env": envs[given["env"]]} if "env" in given else {})
    with pytest.raises(error, match=message):
        retrofit(trained(), **given)


class Constant(nn.Module):
    """An f that cannot start at 0: it has no last linear layer."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.ones(n_outputs))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.offset.expand(len(given), -1)
