"""`transfer` moves a model to another task and forgets nothing on the way."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import DQN, PPO, SAC, HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize, unwrap_vec_normalize

import nb_gym  # noqa: F401
from nb_agents import KGatedDQNMultiInputPolicy, KGatedPolicy, KGatedSACPolicy, VectorEnvAdapter, transfer
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.train_only import acting_parameters
from tests.nb_agents.inference.models import make_env, make_model

PENDULUM = "NBPendulumControl-v0"


def ppo(env: Any, **kwargs: Any) -> PPO:
    return PPO(KGatedPolicy, env, n_steps=50, batch_size=50, n_epochs=4, seed=0, device="cpu", **kwargs)


def normalized(**context: Any) -> VecNormalize:
    return VecNormalize(DummyVecEnv([lambda: Monitor(gym.make(PENDULUM, **context))]))


def acting(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in acting_parameters(model.policy)}


def test_gates_alone_move_and_the_old_ks_put_the_old_policy_back() -> None:
    model = ppo(gym.make(PENDULUM))
    model.learn(200)
    weights = acting(model)
    moved = transfer(model, gym.make(PENDULUM, A=1.8), 200, task_difficulty=1.0)
    changed = {name for name, value in acting(model).items() if not value.equal(weights[name])}
    assert changed == {"mlp_extractor.policy_net.1.k", "mlp_extractor.policy_net.3.k"}
    assert (moved.n_trained, moved.n_actor) == (10, 4 * 64 + 64 + 64 * 64 + 64 + 64 + 1 + 10)
    assert model.policy.task_difficulty == 1.0
    assert model.num_timesteps == 400
    assert list(moved.battery) == ["source", "target"]
    assert moved.evaluate() == moved.after
    moved.battery.apply("source")
    assert moved.evaluate() == moved.before
    assert all(value.equal(weights[name]) for name, value in acting(model).items())
    assert str(moved).startswith(f"return {moved.before:,.1f} before, {moved.after:,.1f} after (means of 10 episodes)")


def test_before_and_after_are_what_evaluate_policy_gives() -> None:
    model = ppo(gym.make(PENDULUM))
    env = Monitor(gym.make(PENDULUM, A=1.8))
    moved = transfer(model, env, 100, n_eval_episodes=3, eval_seed=7)
    vec = DummyVecEnv([lambda: Monitor(gym.make(PENDULUM, A=1.8))])
    vec.seed(7)
    assert evaluate_policy(model, vec, 3)[0] == moved.after


@pytest.mark.parametrize("what", ["head", "all"])
def test_other_parts_train_as_well_and_an_adapter_is_kept(what: str) -> None:
    model = ppo(gym.make(PENDULUM))
    before = acting(model)
    moved = transfer(model, gym.make(PENDULUM, A=1.8), 100, what)
    changed = {name for name, value in acting(model).items() if not value.equal(before[name])}
    assert changed == ({"action_net.weight", "action_net.bias"} if what == "head" else set(before))
    assert moved.battery is None if what == "all" else [*moved.battery] == ["source", "target"]
    assert moved.n_trained == (65 if what == "head" else moved.n_actor)


@pytest.mark.parametrize("mode", ["freeze", "carry"])
def test_normalization_goes_along_in_a_copy(mode: Any) -> None:
    source = normalized()
    model = ppo(source)
    model.learn(200)
    mean = source.obs_rms.mean.copy()
    transfer(model, gym.make(PENDULUM, A=1.8), 200, normalize=mode)
    carried = unwrap_vec_normalize(model.get_env())
    assert carried is not None
    assert carried is not source
    np.testing.assert_array_equal(source.obs_rms.mean, mean)
    assert np.array_equal(carried.obs_rms.mean, mean) is (mode == "freeze")
    assert carried.training is (mode == "carry")
    assert carried.norm_reward


def test_evaluation_counts_true_rewards_and_sees_what_the_policy_is_used_to() -> None:
    model = ppo(normalized())
    model.learn(200)
    moved = transfer(model, gym.make(PENDULUM, A=1.8), 100, eval_env=gym.make(PENDULUM, A=1.8, reward_scale=1.0))
    here = normalized(A=1.8)
    here.obs_rms, here.training, here.norm_reward = model.get_env().obs_rms, False, False
    here.seed(0)
    assert moved.after == pytest.approx(20 * evaluate_policy(model, here, 10)[0], rel=1e-6)


def test_a_normalization_of_the_new_environment_is_its_own() -> None:
    model = ppo(normalized())
    target = normalized(A=1.8)
    target.reset()
    target.step(np.zeros((1, 1), np.float32))
    mean = target.obs_rms.mean.copy()
    transfer(model, target, 100)
    assert model.get_env() is target
    assert target.training
    assert not np.array_equal(target.obs_rms.mean, mean)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_normalization_that_has_seen_nothing_is_given_the_statistics(stacked: bool) -> None:
    def env(**context: Any) -> Any:
        return VecFrameStack(normalized(**context), 2) if stacked else normalized(**context)

    model = ppo(env())
    model.learn(200)
    source = unwrap_vec_normalize(model.get_env())
    target = env(A=1.8)
    transfer(model, target, 100)
    given = unwrap_vec_normalize(target)
    np.testing.assert_array_equal(given.obs_rms.mean, source.obs_rms.mean)
    assert given.obs_rms is not source.obs_rms
    assert not given.training


def test_a_normalization_to_evaluate_in_keeps_its_own_statistics() -> None:
    model = ppo(normalized())
    model.learn(200)
    test = normalized(A=1.8)
    mean = test.obs_rms.mean.copy()
    moved = transfer(model, gym.make(PENDULUM, A=1.8), 100, eval_env=test)
    frozen = unwrap_vec_normalize(model.get_env()).obs_rms.mean.copy()
    np.testing.assert_array_equal(test.obs_rms.mean, mean)
    test.step(np.zeros((1, 1), np.float32))
    np.testing.assert_array_equal(unwrap_vec_normalize(model.get_env()).obs_rms.mean, frozen)
    assert test.training
    moved.battery.apply("source")
    assert moved.evaluate() == moved.before


def test_a_model_without_environment_is_warned_of() -> None:
    model = ppo(gym.make(PENDULUM))
    model.env = None
    with pytest.warns(UserWarning, match="the model has no environment: if it was trained with a VecNormalize"):
        transfer(model, gym.make(PENDULUM, A=1.8), 50)


def sac(**kwargs: Any) -> SAC:
    settings = {"learning_starts": 20, "buffer_size": 1_000, "policy_kwargs": {"net_arch": [32]}, "seed": 0}
    return SAC(KGatedSACPolicy, gym.make(PENDULUM), device="cpu", **settings, **kwargs)


def test_computed_ks_move_by_k0_and_f_and_there_is_no_k_set() -> None:
    model = make_model(PPO, KGatedPolicy, False, {"n_steps": 8, "batch_size": 8})
    before = {name: value.clone() for name, value in acting(model).items()}
    done = transfer(model, make_env(), 16, n_eval_episodes=1)
    assert done.battery is None
    (net,) = conditioned_nets(model.policy)
    assert done.n_trained == len(net.k0) + sum(p.numel() for p in net.k_net.parameters())
    moved = {name for name, value in acting(model).items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.endswith(".k") or ".k_net." in name}


@pytest.mark.parametrize("keep", [False, True])
def test_the_old_tasks_transitions_are_left_behind_unless_they_are_kept(keep: bool) -> None:
    model = sac()
    model.learn(60)
    old = model.replay_buffer
    transfer(model, gym.make(PENDULUM, A=1.8), 40, keep_replay_buffer=keep)
    assert old.pos == (100 if keep else 60)
    assert (model.replay_buffer is old) is keep
    assert model.replay_buffer.size() == (100 if keep else 40)


@pytest.mark.parametrize("keep", [False, True])
def test_hindsight_goes_on_with_the_new_environment(keep: bool) -> None:
    model = DQN(
        KGatedDQNMultiInputPolicy,
        BitFlippingEnv(n_bits=4, continuous=False),
        replay_buffer_class=HerReplayBuffer,
        learning_starts=20,
        buffer_size=500,
        seed=0,
        device="cpu",
    )
    model.learn(60)
    transfer(model, BitFlippingEnv(n_bits=4, continuous=False, max_steps=3), 40, keep_replay_buffer=keep)
    assert model.replay_buffer.env is model.get_env()
    assert model.replay_buffer.size() == (100 if keep else 40)


def test_vector_environments_are_adapted() -> None:
    def pendulums(**context: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
        return gym.make_vec(PENDULUM, num_envs=4, autoreset_mode=AutoresetMode.DISABLED, **context)

    model = ppo(VectorEnvAdapter(pendulums()))
    moved = transfer(model, pendulums(A=1.8), 400, n_eval_episodes=8)
    assert model.get_env().num_envs == 4
    assert moved.returns_after.shape == (8,)
    moved.battery.apply("source")
    assert moved.evaluate() == moved.before


def test_maskable_ppo_is_evaluated_with_its_masks() -> None:
    contrib = pytest.importorskip("sb3_contrib")
    from sb3_contrib.common.envs import InvalidActionEnvDiscrete

    from nb_agents.contrib import KGatedMaskablePolicy

    def env() -> gym.Env[Any, Any]:
        return InvalidActionEnvDiscrete(dim=8, n_invalid_actions=4)

    model = contrib.MaskablePPO(KGatedMaskablePolicy, env(), n_steps=64, seed=0, device="cpu")
    assert transfer(model, env(), 64).returns_after.shape == (10,)


class TestBadInput:
    """Nothing has changed when an argument is refused."""

    @pytest.mark.parametrize(
        ("kwargs", "error", "message"),
        [
            ({"total_timesteps": 0}, ValueError, "total_timesteps must be an integer >= 1, got 0"),
            ({"train_only": "k"}, ValueError, "train_only must be one of .*'gates'.* got 'k'"),
            ({"normalize": "thaw"}, ValueError, "normalize must be 'freeze' or 'carry', got 'thaw'"),
            ({"task_difficulty": 2.0}, ValueError, r"task_difficulty must be a number in \[0, 1\], got 2.0"),
            ({"keep_replay_buffer": 1}, TypeError, "keep_replay_buffer must be True or False, got 1"),
            ({"n_eval_episodes": 0}, ValueError, "n_eval_episodes must be an integer >= 1, got 0"),
            ({"eval_seed": -1}, ValueError, "eval_seed must be an integer >= 0, got -1"),
            ({"env": "NBPendulum-v0"}, TypeError, "env must be a Gymnasium environment, .* got 'NBPendulum-v0'"),
            ({"env": gym.make("Pendulum-v1")}, ValueError, "env must have the spaces that the model was trained with"),
            ({"eval_env": gym.make("Pendulum-v1")}, ValueError, "eval_env must have the spaces"),
            (
                {"env": DummyVecEnv([lambda: gym.make(PENDULUM)] * 2)},
                ValueError,
                "env must hold 1 environments, as the model's does, got 2",
            ),
        ],
    )
    def test_arguments(self, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
        model = ppo(gym.make(PENDULUM))
        env = model.get_env()
        with pytest.raises(error, match=message):
            transfer(model, **{"env": gym.make(PENDULUM), "total_timesteps": 50} | kwargs)
        assert model.get_env() is env
        assert model.policy.trains == "all"

    def test_what_learn_does_not_know(self) -> None:
        model = sac()
        model.learn(40)
        env, buffer = model.get_env(), model.replay_buffer
        with pytest.raises(TypeError, match="unexpected keyword argument 'progres_bar'"):
            transfer(model, gym.make(PENDULUM), 50, progres_bar=True)
        with torch.no_grad():
            next(iter(model.policy.gates.values())).k[0] = torch.nan
        with pytest.raises(ValueError, match="must be finite"):
            transfer(model, gym.make(PENDULUM), 50)
        assert (model.get_env(), model.replay_buffer, model.policy.trains) == (env, buffer, "all")

    def test_other_spaces_below_a_normalization(self) -> None:
        model = ppo(VecNormalize(VecFrameStack(DummyVecEnv([lambda: gym.make(PENDULUM)]), 2)))
        with pytest.raises(ValueError, match="env must have the spaces that the model was trained with"):
            transfer(model, gym.make(PENDULUM), 50)
        with pytest.raises(ValueError, match="the VecNormalize of env must see the observations that the model's does"):
            transfer(model, VecFrameStack(normalized(), 2), 50)

    def test_models(self) -> None:
        with pytest.warns(UserWarning, match="nothing is gated|no hidden layer"):
            ungated = ppo(gym.make(PENDULUM), policy_kwargs={"net_arch": []})
        with pytest.raises(ValueError, match=r"must have gates to train, .* no hidden layer"):
            transfer(ungated, gym.make(PENDULUM), 10)
        env = gym.make(PENDULUM)
        with pytest.raises(TypeError, match=r"model must have a k-gated policy, .*ActorCriticPolicy: .*retrofit"):
            transfer(PPO("MlpPolicy", env), env, 10)
        with pytest.raises(TypeError, match="model must be a Stable-Baselines3 model, got str"):
            transfer("model.zip", env, 10)  # type: ignore[arg-type]

    def test_a_normalization_below_a_frame_stack(self) -> None:
        model = ppo(VecFrameStack(normalized(), 2))
        with pytest.raises(ValueError, match="has a VecFrameStack on its VecNormalize, which cannot be carried over"):
            transfer(model, VecFrameStack(DummyVecEnv([lambda: gym.make(PENDULUM)]), 2), 50)
        transfer(model, VecFrameStack(normalized(A=1.8), 2), 50)
