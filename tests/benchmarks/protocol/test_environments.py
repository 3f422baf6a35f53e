from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.environments import (
    CLIP_OBSERVATION,
    NUM_STARTS,
    Evaluator,
    fixed_starts,
    make_training_env,
    make_vector_env,
)


def test_starts_are_fixed():
    first, second = fixed_starts(), fixed_starts()
    np.testing.assert_array_equal(first, second)
    assert np.shape(first) == (2, NUM_STARTS)
    assert 0.05 < np.std(first) < 0.15


def test_observations_are_scaled_and_clipped(quick_spec):
    settings = quick_spec().settings
    env = make_vector_env(settings, 3)
    theta = np.array([0.0, 0.3, 100.0])
    observation, _ = env.reset(options={"theta": theta, "theta_dot": 0.0})
    expected = np.minimum(theta / settings.observe["theta"], CLIP_OBSERVATION)
    np.testing.assert_allclose(observation[:, list(settings.observe).index("theta")], expected, rtol=1e-6)
    assert env.single_observation_space.contains(observation[2])


def test_the_observation_before_a_reset_is_scaled_too(quick_spec):
    """PPO bootstraps from it at the end of an episode, which is always a truncation."""
    spec = quick_spec()
    env = make_training_env(spec.settings, {"A": 3.0})
    env.seed(0)
    env.reset()
    for _ in range(1000 // spec.settings.frame_skip):
        _, _, dones, infos = env.step(np.zeros((spec.settings.num_envs, 1), dtype=np.float32))
    assert dones.all()
    for info in infos:
        assert info["TimeLimit.truncated"]
        assert np.abs(info["terminal_observation"]).max() == CLIP_OBSERVATION  # θ is far out without torque
        assert info["episode"]["r"] < -1000  # true rewards, not normalised ones
        assert info["episode"]["l"] == 1000 // spec.settings.frame_skip


def test_evaluator_returns_what_single_episodes_return(quick_spec):
    """Batch of both contexts = one `gym.make` environment after the other, for a policy that is not trained."""
    settings = replace(quick_spec().settings, frame_skip=100, n_steps=10)
    spec = quick_spec(source={"A": 1.0}, target={"A": 1.8, "torque_gain": -0.5}, settings=settings)
    policy = PPO("MlpPolicy", make_training_env(spec.settings, spec.source), seed=0).policy
    evaluation = Evaluator(spec)(policy)
    scale = np.array(list(spec.settings.observe.values()), dtype=np.float32)
    means = []
    for context in (spec.source, spec.target):
        env = gym.make(
            "nb_gym:NBPendulum-v0", frame_skip=spec.settings.frame_skip, observe=tuple(spec.settings.observe), **context
        )
        returns, torques = [], []
        for theta, theta_dot in zip(*fixed_starts(), strict=True):
            observation, _ = env.reset(options={"theta": theta, "theta_dot": theta_dot})
            score, truncated = 0.0, False
            while not truncated:
                shown = np.clip(observation / scale, -CLIP_OBSERVATION, CLIP_OBSERVATION)
                action, _ = policy.predict(shown, deterministic=True)
                observation, reward, _, truncated, _ = env.step(action)
                score += reward
                torques.append(float(action[0]))
            returns.append(score)
        means.append(np.mean(returns))
    # A batch may round differently from a single row, and the motion amplifies it.
    np.testing.assert_allclose([evaluation.source, evaluation.target], means, rtol=1e-3)
    np.testing.assert_allclose(evaluation.torques, torques[: len(evaluation.torques)], atol=1e-2)


def test_evaluator_can_be_asked_again(quick_spec):
    spec = quick_spec()
    policy = PPO("MlpPolicy", make_training_env(spec.settings, spec.source), seed=0).policy
    evaluator = Evaluator(spec)
    assert evaluator(policy) == evaluator(policy)


def test_controllers_start_where_policies_start(quick_spec):
    """No torque returns the same whether it is a controller or a policy that outputs zero."""
    spec = quick_spec()
    policy = PPO("MlpPolicy", make_training_env(spec.settings, spec.source), seed=0).policy
    policy.action_net.weight.data.zero_()
    policy.action_net.bias.data.zero_()
    evaluation = Evaluator(spec)(policy)
    assert evaluation.source == pytest.approx(anchor_returns(spec.source)["no torque"])
    assert evaluation.target == pytest.approx(anchor_returns(spec.target)["no torque"])


@pytest.mark.parametrize("source", [{}, {"max_torque": 1.5}, {"max_torque": (0.5, 1.5)}])
def test_actions_keep_the_sources_range_where_less_torque_is_to_be_had(quick_spec, source):
    settings = quick_spec().settings
    env = make_training_env(settings, {"max_torque": 1.2}, source)
    assert env.action_space.high.item() == (1.5 if source else 2.0)
    plain = make_training_env(settings, {"max_torque": 1.2})
    assert plain.action_space.high.item() == pytest.approx(1.2)
    returns = []
    for each, torque in ((env, 1.5), (plain, 1.2)):  # the pendulum clips
        each.seed(0)
        each.reset()
        for _ in range(50):
            _, _, _, infos = each.step(np.full((settings.num_envs, 1), torque, dtype=np.float32))
        returns.append(infos[0]["episode"]["r"])
    assert returns[0] == returns[1]
