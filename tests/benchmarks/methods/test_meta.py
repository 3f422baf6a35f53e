"""The meta-learners in the transfer job: the same world as the other methods, and an honest budget."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stable_baselines3.common.running_mean_std import RunningMeanStd

from benchmarks.methods import METHODS, specify
from benchmarks.protocol.environments import make_training_env
from benchmarks.protocol.meta_environments import RewardScale, environments
from benchmarks.protocol.recorder import Recorder
from benchmarks.protocol.settings import MetaSettings, PPOSettings
from benchmarks.protocol.spec import RunSpec
from nb_agents.maml import PPOClipUpdate
from nb_agents.maml.tasks import make_task_envs

SETTINGS = PPOSettings(net_arch=(8, 8))
META = MetaSettings(inner_steps=2)
DECISIONS = 1000 // SETTINGS.frame_skip


def test_single_and_native_environments_show_the_same() -> None:
    factory = environments(SETTINGS, RunningMeanStd(shape=()), {})
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
    normalized = make_training_env(SETTINGS, spec.target)
    statistics = RunningMeanStd(shape=())
    native = make_task_envs(environments(SETTINGS, statistics, {}), [spec.target], SETTINGS.num_envs)
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


@pytest.mark.parametrize("name", ["maml", "fomaml", "reptile", "anil"])
def test_the_budget_is_kept_and_the_inner_steps_count(name: str) -> None:
    spec = specify(name, seed=0, settings=SETTINGS, meta=META, pretrain_episodes=8, transfer_episodes=8, eval_every=1)
    method = METHODS[name]
    pretrained = method.pretrain(spec)
    rounds = pretrained.model.rollouts_per_iteration  # type: ignore[attr-defined]
    assert pretrained.model.num_timesteps == 8 // rounds * rounds * DECISIONS
    recorder = Recorder(spec)
    model = method.begin_transfer(spec, pretrained, recorder)
    assert model.num_timesteps == pretrained.model.num_timesteps + META.inner_steps * META.adapt_episodes * DECISIONS
    assert len(recorder.curve.steps) == META.inner_steps  # before the first step, and between them
    assert not recorder.episodes
    method.transfer(spec, model, recorder)
    assert model.num_timesteps == pretrained.model.num_timesteps + 8 * DECISIONS
    assert len(recorder.episodes) == 8
    assert recorder.curve.steps == sorted(set(recorder.curve.steps))


def test_a_weaker_motor_leaves_the_action_space() -> None:
    target = {"max_torque": 1.2}
    spec = specify(
        "maml", seed=0, settings=SETTINGS, meta=META, target=target, pretrain_episodes=8, transfer_episodes=8
    )
    pretrained = METHODS["maml"].pretrain(spec)
    model = METHODS["maml"].begin_transfer(spec, pretrained, Recorder(spec))
    assert model.action_space == pretrained.model.action_space
    single = environments(SETTINGS, RunningMeanStd(shape=()), spec.source)(**target)
    assert single.action_space == model.action_space
    rewards = []
    for torque in (1.2, 2.0):  # the pendulum clips what is too much for it
        single.reset(options={"theta": 0.5, "theta_dot": 0.0})
        rewards.append(single.step(np.float32([torque]))[1])
    assert rewards[0] == rewards[1]


def test_tasks_are_drawn_from_the_source() -> None:
    spec = specify(
        "maml", seed=0, settings=SETTINGS, source={"A": (1.0, 1.5), "b": 0.3}, pretrain_episodes=40,
        transfer_episodes=8, meta=MetaSettings(inner_steps=1, tasks_per_iteration=20),
    )  # fmt: skip
    maml = METHODS["maml"].pretrain(spec).model
    drives = {task["A"] for task in maml._tasks}  # type: ignore[attr-defined]
    assert len(drives) == 20
    assert all(1.0 <= drive <= 1.5 for drive in drives)
    assert {task["b"] for task in maml._tasks} == {0.3}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"pretrain_episodes": 2}, "pretrain_episodes must pay for one meta-iteration, 3 episodes; got 2"),
        ({"transfer_episodes": 2}, "transfer_episodes must pay for the inner steps, 4 episodes; got 2"),
    ],
)
def test_budgets_that_pay_for_nothing_are_refused(budget: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        specify("maml", seed=0, settings=SETTINGS, meta=META, **budget)


def test_the_outer_update_is_the_settings() -> None:
    meta = MetaSettings(inner_steps=1, outer="ppo", n_epochs=3, learning_rate=2e-4)
    spec = specify("maml", seed=0, settings=SETTINGS, meta=meta, pretrain_episodes=4, transfer_episodes=8)
    maml = METHODS["maml"].pretrain(spec).model
    assert maml.outer == PPOClipUpdate(n_epochs=3, clip_range=SETTINGS.clip_range)  # type: ignore[attr-defined]
    assert maml.policy.optimizer.param_groups[0]["lr"] == 2e-4
    with pytest.raises(ValueError, match="outer must be one of trpo, ppo; got 'adam'"):
        MetaSettings(outer="adam")
