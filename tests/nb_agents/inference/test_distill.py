"""A student infers its k's from the last transitions: in its first episode, in a world that it was never told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import CrossQ
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from nb_agents import KGatedMultiInputPolicy, KGatedPolicy, KGatedSACPolicy, VectorEnvAdapter, distill
from nb_agents.contrib import KGatedCrossQPolicy
from nb_agents.gates.signed import SignedKGate
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.distill import make_student
from nb_agents.inference.student import StudentPolicy
from nb_gym.wrappers import vector

OFF_POLICY = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}
SCALE = np.float32([0.3, 1.0, 1.0, 1.0])
CHANNELS = ("theta", "theta_dot", "sin_drive", "cos_drive")


def pendulums(num_envs: int, gain: Any, mode: str = "NextStep", **options: Any) -> Any:
    """Pendulums with the channels scaled, 20 physics steps a decision."""
    env = gym.make_vec(
        "NBPendulum-v0", num_envs=num_envs, torque_gain=gain, observe=CHANNELS, frame_skip=20, autoreset_mode=mode,
        **options,
    )  # fmt: skip
    space = gym.spaces.Box(-10.0, 10.0, (4,), np.float32)
    shown = gym.wrappers.vector.TransformObservation
    return shown(env, lambda o: np.clip(o / SCALE, -10, 10), single_observation_space=space)


def shown_signs(num_envs: int, *, key: bool = False, **options: Any) -> Any:
    """The same, half with either sign of the actuator, which is a part of the observation."""
    env = pendulums(num_envs, np.resize([1.0, -1.0], num_envs), **options)
    return vector.ContextObservation(env, {"torque_gain": (-1.0, 1.0)}, key="context" if key else None)


def make_teacher(algorithm: Any = PPO, policy: Any = KGatedPolicy, *, key: bool = False, **settings: Any) -> Any:
    env = VecNormalize(VectorEnvAdapter(shown_signs(8, key=key)), norm_obs=False, gamma=0.8)
    kwargs = {"k_from": "context", "gate_class": SignedKGate, "net_arch": [64, 64]}
    return algorithm(policy, env, policy_kwargs=kwargs, gamma=0.8, device="cpu", **{"seed": 0, **settings})


@pytest.fixture(scope="module")
def teachers() -> list[Any]:
    """Three that hold the pendulum at either sign."""
    settings = {"n_steps": 50, "batch_size": 200, "n_epochs": 20, "learning_rate": 1.1e-3, "gae_lambda": 0.8}
    return [make_teacher(seed=seed, **settings).learn(16_000) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def students(teachers: list[Any]) -> list[StudentPolicy]:
    return [distill(each, shown_signs(32), 9_600, n_epochs=12, seed=seed) for seed, each in enumerate(teachers)]


def first_episode(student: Any, gain: float, n: int = 16) -> float:
    """Mean return of first episodes, in a plain loop."""
    env, state = pendulums(n, gain, "Disabled"), None
    observation, _ = env.reset(seed=7)
    total, over = np.zeros(n), False
    while not over:
        action, state = student.predict(observation, state, deterministic=True)
        observation, reward, _, truncated, _ = env.step(action)
        total, over = total + reward, bool(truncated.all())
    return float(total.mean())


def test_the_first_episode_at_either_sign_goes_well_on_three_seeds(students: list[StudentPolicy]) -> None:
    """No torque returns −2,368; acting by the wrong sign far less."""
    for student in students:
        assert min(first_episode(student, gain) for gain in (1.0, -1.0)) > -60.0


def test_sb3s_evaluation_and_a_plain_environment_need_no_wrapper(students: list[StudentPolicy]) -> None:
    student = students[0]
    env = VectorEnvAdapter(pendulums(8, np.resize([1.0, -1.0], 8)))
    returns, _ = evaluate_policy(student, env, n_eval_episodes=16, return_episode_rewards=True, warn=False)  # type: ignore[arg-type]
    assert min(returns) > -100.0, "windows are emptied between episodes"

    one = gym.make("NBPendulum-v0", torque_gain=-1.0, observe=CHANNELS, frame_skip=20)
    observation, _ = one.reset(seed=0)
    state, total, over = None, 0.0, False
    while not over:
        action, state = student.predict(observation / SCALE, state, deterministic=True)
        assert action.shape == (1,)
        observation, reward, _, over, _ = one.step(action)
        total += float(reward)
    assert total > -100.0


def test_the_window_is_that_of_the_wrapper_and_the_actions_are_its_networks(students: list[StudentPolicy]) -> None:
    student = students[0]
    wrapped = vector.HistoryObservation(pendulums(4, np.resize([1.0, -1.0], 4), episode_steps=300), student.steps)
    observation, _ = wrapped.reset(seed=3)
    state, starts, over = None, np.ones(4, dtype=bool), np.zeros(4, dtype=bool)
    for _ in range(40):
        alone, state = student.predict(observation[:, :4], state, starts, deterministic=True)
        np.testing.assert_array_equal(state.rows.reshape(4, -1), observation[:, 4:])
        together, _ = student.network.predict(observation, deterministic=True)
        np.testing.assert_array_equal(alone, together)
        starts = over  # in NEXT_STEP the step after an end begins the next episode
        observation, _, terminated, truncated, _ = wrapped.step(alone)
        over = terminated | truncated


def test_a_student_is_saved_and_loaded(students: list[StudentPolicy], tmp_path: Path) -> None:
    student = students[0]
    student.save(tmp_path / "student.pth")
    loaded = StudentPolicy.load(tmp_path / "student.pth", device="cpu")
    env = pendulums(4, 1.0)
    observation, _ = env.reset(seed=0)
    state = other = None
    for _ in range(12):
        a, state = student.predict(observation, state, deterministic=True)
        b, other = loaded.predict(observation, other, deterministic=True)
        np.testing.assert_array_equal(a, b)
        observation, *_ = env.step(a)
    torch.testing.assert_close(student.k(observation, state), loaded.k(observation, other), rtol=0.0, atol=0.0)


def test_its_k_sets_approach_the_teachers(teachers: list[Any], students: list[StudentPolicy]) -> None:
    teacher, student = teachers[0], students[0]
    net = next(conditioned_nets(teacher.policy))
    with torch.no_grad():
        plus, minus = net.k_sets(torch.tensor([[1.0], [-1.0]]))
    for gain, right, wrong in ((1.0, plus, minus), (-1.0, minus, plus)):
        env, state = pendulums(8, gain), None
        observation, _ = env.reset(seed=1)
        for _ in range(10):
            action, state = student.predict(observation, state, deterministic=True)
            observation, *_ = env.step(action)
        k = student.k(observation, state)
        assert ((k - right).norm(dim=1) < (k - wrong).norm(dim=1)).all()


def test_it_notices_when_the_actuator_turns_around_in_mid_episode(students: list[StudentPolicy]) -> None:
    """The worlds are swapped under the student: what it is shown goes on in a pendulum of the other sign."""
    student = students[0]
    env, state = pendulums(16, 1.0, "Disabled", episode_steps=2000), None
    observation, _ = env.reset(seed=7)
    rewards = []
    for step in range(100):
        if step == 50:
            theta, theta_dot = env.unwrapped.state
            env = pendulums(16, -1.0, "Disabled", episode_steps=2000, phase=0.75 * 50 * 0.2)
            env.reset(seed=0, options={"theta": theta, "theta_dot": theta_dot})
        action, state = student.predict(observation, state, deterministic=True)
        observation, reward, *_ = env.step(action)
        rewards.append(reward.mean())
    assert np.mean(rewards[70:]) > -2.0, "it holds the pendulum again twenty decisions later"
    assert np.mean(rewards[:50]) > -2.0


def test_the_same_seed_gives_the_same_student_and_leaves_torch_alone(teachers: list[Any]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b = (distill(teachers[0], shown_signs(4), 96, rounds=2, n_epochs=2, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for (name, value), other in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_rounds_are_reported_and_steps_counted(teachers: list[Any]) -> None:
    seen: list[tuple[int, float]] = []
    distill(teachers[0], shown_signs(4), 120, rounds=3, n_epochs=4, on_round=lambda i, loss, _: seen.append((i, loss)))
    assert [i for i, _ in seen] == [0, 1, 2]
    assert seen[-1][1] < seen[0][1]


@pytest.mark.parametrize(
    ("algorithm", "policy", "key", "settings"),
    [
        (PPO, KGatedMultiInputPolicy, True, {"n_steps": 8, "batch_size": 8}),
        (SAC, KGatedSACPolicy, False, OFF_POLICY),
        (CrossQ, KGatedCrossQPolicy, False, OFF_POLICY),
    ],
)
def test_other_teachers_have_students_that_act_as_they_do_with_their_k(
    algorithm: Any, policy: Any, key: bool, settings: dict[str, Any]
) -> None:
    teacher = make_teacher(algorithm, policy, key=key, **settings)
    student = make_student(teacher, 4)
    net = next(conditioned_nets(teacher.policy))
    with torch.no_grad():
        k = net.k_sets(torch.tensor([[1.0]]))[0]
        student.encoder.mean.copy_(k - torch.cat([gate.k for gate in student.net.gates]))
        student.encoder.scale.zero_()
    bare = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    context = np.ones((5, 1), dtype=np.float32)
    told = {"observation": bare, "context": context} if key else np.concatenate([bare, context], axis=1)
    acted, alone = teacher.predict(told, deterministic=True)[0], student.predict(bare, deterministic=True)[0]
    np.testing.assert_allclose(alone, acted, atol=1e-5)


def test_a_student_learns_on_in_sb3_behind_the_wrapper(students: list[StudentPolicy]) -> None:
    student = students[0]
    env = VectorEnvAdapter(vector.HistoryObservation(pendulums(4, 1.0), student.steps))
    kwargs = {name: value for name, value in student.policy_kwargs.items() if name not in ("lr_schedule", "use_sde")}
    model = PPO(student.policy_class, env, policy_kwargs=kwargs, n_steps=8, batch_size=8, device="cpu")  # type: ignore[arg-type]
    model.policy.load_state_dict(student.network.state_dict())
    bare = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    empty = np.zeros((5, model.observation_space.shape[0] - 4), dtype=np.float32)  # type: ignore[index]
    acted, _ = model.predict(np.concatenate([bare, empty], axis=1), deterministic=True)
    alone, _ = student.predict(bare, episode_start=np.ones(5, dtype=bool), deterministic=True)
    np.testing.assert_allclose(acted, alone, atol=1e-6)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(32)
    moved = {name for name, value in model.policy.state_dict().items() if not value.equal(before[name])}
    assert any(".k_net." in name for name in moved), "the encoder learns on, too"
    assert all(value.isfinite().all() for value in model.policy.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_timesteps": 10}, "total_timesteps must be at least one step in each of 4 environments and 6 rounds"),
        ({"steps": 0}, "steps must be"),
        ({"exploration": 1.5}, "exploration must be"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
    ],
)
def test_bad_arguments_are_named(teachers: list[Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distill(teachers[0], shown_signs(4), **{"total_timesteps": 240, **change})


def test_what_does_not_fit_is_refused(teachers: list[Any], students: list[StudentPolicy]) -> None:
    plain = PPO(KGatedPolicy, gym.make("NBPendulum-v0"), device="cpu")
    with pytest.raises(ValueError, match="teacher must have a policy with k_from"):
        distill(plain, shown_signs(4))
    with pytest.raises(ValueError, match="env must show what the teacher observes"):
        distill(teachers[0], pendulums(4, 1.0))
    student = students[0]
    _, state = student.predict(np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=r"state must be what predict returned for 2 environments"):
        student.predict(np.zeros((2, 4), dtype=np.float32), state)
    with pytest.raises(ValueError, match=r"observation must have shape \(4,\), or such in a batch; got \(2, 3\)"):
        student.predict(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="steps must be the number of transitions of the history"):
        student.policy_kwargs["k_net"](13, 2)
