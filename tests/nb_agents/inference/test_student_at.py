"""What a student has inferred, as a plain k-gated policy for a task that stays: folded, kept, exported, fine-tuned."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC

from nb_agents import (
    Battery,
    FingerprintError,
    KGatedMultiInputPolicy,
    KGatedPolicy,
    KGatedSACPolicy,
    SignedKGate,
    VectorEnvAdapter,
    distill,
    fold_gates,
)
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.distill import make_student
from nb_gym.wrappers import vector

SHORT: dict[str, Any] = {"steps": 4, "total_timesteps": 96, "rounds": 2, "n_epochs": 2}


def worlds(key: str | None = None) -> Any:
    env = gym.make_vec("NBPendulum-v0", num_envs=4, torque_gain=(-1.0, 1.0), frame_skip=20, episode_steps=200)
    return vector.ContextObservation(env, {"torque_gain": (-1.0, 1.0)}, key=key)


def make_teacher(algorithm: Any = PPO, policy: Any = KGatedPolicy, key: str | None = None, seed: int = 0) -> Any:
    kwargs = {"k_from": "context", "gate_class": SignedKGate}
    return algorithm(policy, VectorEnvAdapter(worlds(key)), policy_kwargs=kwargs, seed=seed, device="cpu")


@pytest.fixture(scope="module")
def teacher() -> Any:
    return make_teacher()


@pytest.fixture(scope="module")
def student(teacher: Any) -> Any:
    return distill(teacher, worlds(), **SHORT)


def lived(student: Any, seed: int = 0, decisions: int = 6) -> tuple[Any, Any]:
    """An observation and the state before it, some decisions into an episode."""
    env, state = gym.make("NBPendulum-v0", torque_gain=-1.0, frame_skip=20), None
    observation, _ = env.reset(seed=seed)
    for _ in range(decisions):
        action, state = student.predict(observation, state, np.zeros(1, dtype=bool), deterministic=True)
        observation, *_ = env.step(action)
    return observation, state


def several(n: int = 8) -> Any:
    return np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32)


def test_the_plain_policy_acts_as_the_student_with_that_k(student: Any) -> None:
    observation, state = lived(student)
    plain, k = student.at(observation, state), student.k(observation, state)
    assert not list(conditioned_nets(plain))
    torch.testing.assert_close(torch.cat([gate.k for gate in plain.gates.values()]), k[0])
    acted, _ = student.predict(observation, state, deterministic=True)
    np.testing.assert_allclose(plain.predict(observation, deterministic=True)[0], acted, atol=1e-6)
    with torch.no_grad():
        latent = student.net.run(torch.as_tensor(several()), k.expand(8, -1))
        means = student.network.action_net(latent).clamp(-2.0, 2.0).numpy()
    np.testing.assert_allclose(plain.predict(several(), deterministic=True)[0], means, atol=1e-6)
    np.testing.assert_allclose(fold_gates(plain).predict(several(), deterministic=True)[0], means, atol=1e-5)
    with pytest.raises(ValueError, match="observation must be of one environment, whose task the policy is for; got 8"):
        student.at(several(), None)


def test_it_goes_on_learning_by_its_gates_alone(student: Any) -> None:
    plain = student.at(*lived(student))
    env = VectorEnvAdapter(gym.make_vec("NBPendulum-v0", num_envs=4, torque_gain=-1.0, frame_skip=20))
    kwargs = {"gate_class": SignedKGate}
    model = PPO(KGatedPolicy, env, policy_kwargs=kwargs, n_steps=8, batch_size=16, seed=0, device="cpu")
    model.policy.load_state_dict(plain.state_dict())
    model.policy.train_only("gates")
    model.learn(64)
    moved = [name for name, value in model.policy.mlp_extractor.policy_net.named_parameters()
             if not torch.equal(value, plain.mlp_extractor.policy_net.get_parameter(name))]  # fmt: skip
    assert moved == ["1.k", "3.k"]


@pytest.mark.parametrize(
    ("algorithm", "policy", "key"),
    [(PPO, KGatedPolicy, None), (PPO, KGatedMultiInputPolicy, "context"), (SAC, KGatedSACPolicy, None)],
)
def test_its_critic_is_the_teachers_in_the_middle_of_the_contexts(algorithm: Any, policy: Any, key: Any) -> None:
    teacher = make_teacher(algorithm, policy, key)
    student = make_student(teacher, 4)
    plain = student.at(*lived(student))
    middle = np.zeros((8, 1), dtype=np.float32)
    told = {"observation": several(), "context": middle} if key else np.concatenate([several(), middle], axis=1)
    bare = several()
    (seen, _), (alone, _) = teacher.policy.obs_to_tensor(told), plain.obs_to_tensor(bare)
    with torch.no_grad():
        if algorithm is PPO:
            wanted, found = teacher.policy.predict_values(seen), plain.predict_values(alone)
        else:
            action = torch.linspace(-1.0, 1.0, 8)[:, None]
            wanted, found = teacher.critic(seen, action)[0], plain.critic(alone, action)[0]
    torch.testing.assert_close(found, wanted)


def test_what_it_infers_is_kept_beside_what_its_teacher_was_told(teacher: Any, student: Any) -> None:
    battery = Battery(teacher.policy.at([1.0]))
    battery.capture("told")
    observation, state = lived(student)
    battery.capture_from(student, observation, state, "inferred", {"seed": 0})
    torch.testing.assert_close(battery["inferred"], student.k(observation, state)[0])
    assert battery.metadata("inferred") == {"seed": 0}
    battery.apply("inferred")
    plain = student.at(observation, state)
    a, b = (each.predict(several(), deterministic=True)[0] for each in (battery.network, plain))
    np.testing.assert_allclose(a, b, atol=1e-6)
    with pytest.raises(ValueError, match="name 'inferred' is taken"):
        battery.capture_from(student, observation, state, "inferred")
    battery.capture_from(student, *lived(student, 1), "inferred", overwrite=True)
    with pytest.raises(ValueError, match="state must be what predict returned before the observation, got None"):
        battery.capture_from(student, observation, None, "empty")
    other = Battery(make_teacher(seed=1).policy.at([1.0]))
    with pytest.raises(FingerprintError, match="a student's k-set was to be kept for other weights"):
        other.capture_from(student, observation, state, "inferred")
    assert len(other) == 0
