"""The meta-learners in the transfer job: the same world as the other methods, and an honest budget."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stable_baselines3.common.running_mean_std import RunningMeanStd

from benchmarks.environments import make_training_env
from benchmarks.meta import META_METHODS, MetaSettings, RewardScale, begin_transfer, environments, pretrain
from benchmarks.settings import PPOSettings
from benchmarks.spec import RunSpec
from nb_agents.maml.tasks import make_task_envs

SETTINGS = PPOSettings(net_arch=(8, 8))
META = MetaSettings(inner_steps=2)
DECISIONS = 1000 // SETTINGS.frame_skip


def test_single_and_native_environments_show_the_same() -> None:
    factory = environments(SETTINGS, RunningMeanStd(shape=()))
    native = make_task_envs(factory, [{"A": 1.0}, {"A": 1.8}], 1)
    assert isinstance(native, RewardScale)
    single = factory(A=1.8)
    start = {"theta": 0.7, "theta_dot": -9.0}
    assert_allclose(native.reset(seed=0, options=dict(start))[0][1], single.reset(seed=0, options=dict(start))[0])
    action = np.float32([[0.0], [1.5]])
    ours, theirs = native.step(action), single.step(action[1])
    assert_allclose(ours[0][1], theirs[0])
    assert ours[1][1] == theirs[1]


def test_reward_statistics_are_those_of_vec_normalize() -> None:
    spec = RunSpec(method="fine-tune", seed=0, settings=SETTINGS)
    normalized = make_training_env(spec, spec.target)
    statistics = RunningMeanStd(shape=())
    native = make_task_envs(environments(SETTINGS, statistics), [spec.target], SETTINGS.num_envs)
    start = {"theta": 0.1, "theta_dot": 0.0}
    native.reset(seed=0, options=dict(start))
    normalized.set_options(dict(start))
    normalized.reset()
    for _ in range(DECISIONS):  # one episode: then every return starts at 0 again, in both
        actions = np.full((SETTINGS.num_envs, 1), 0.5, dtype=np.float32)
        native.step(actions)
        normalized.step(actions)
    assert_allclose(statistics.var, normalized.ret_rms.var, rtol=1e-5)
    assert_allclose(statistics.mean, normalized.ret_rms.mean, rtol=1e-5)


@pytest.mark.parametrize("method", META_METHODS)
def test_the_budget_is_kept_and_the_inner_steps_count(method: str) -> None:
    statistics = RunningMeanStd(shape=())
    maml = pretrain(method, SETTINGS, META, [{"A": 1.0}], 7, 0, statistics)
    rollouts = maml.rollouts_per_iteration
    assert maml.num_timesteps == 7 // rollouts * rollouts * DECISIONS
    spec = RunSpec(method="fine-tune", seed=0, settings=SETTINGS)
    env = make_training_env(spec, spec.target)
    env.ret_rms = statistics
    model = begin_transfer(maml, SETTINGS, META, spec.target, env, seed=0)
    assert model.num_timesteps == META.inner_steps * META.adapt_episodes * DECISIONS
    model.learn(SETTINGS.num_envs * SETTINGS.n_steps, reset_num_timesteps=False)


def test_a_budget_without_a_meta_iteration_and_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="episodes"):
        pretrain("maml", SETTINGS, META, [{"A": 1.0}], 2, 0, RunningMeanStd(shape=()))
    with pytest.raises(ValueError, match="method"):
        pretrain("mamba", SETTINGS, META, [{"A": 1.0}], 20, 0, RunningMeanStd(shape=()))
