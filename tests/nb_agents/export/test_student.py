"""A student as an ONNX file: it takes its window and hands the next one back, step by step as `predict` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nb_agents import KGatedMultiInputPolicy, KGatedPolicy, KGatedSACPolicy, SignedKGate, StudentPolicy, export_onnx
from nb_agents.export.student import StudentStep
from nb_agents.inference.distill import make_student
from nb_gym.wrappers import ContextObservation
from tests.nb_agents.shared import TwoTorques


def pendulum(discrete: bool) -> gym.Env[Any, Any]:
    env = gym.make("NBPendulum-v0", torque_gain=(-1.0, 1.0), frame_skip=20, episode_steps=400)
    return TwoTorques(env) if discrete else env


def make(algorithm: Any, policy: Any, encoder: str, *, discrete: bool = False) -> StudentPolicy:
    """A student that has learned nothing, but whose k's depend on the history."""
    env = ContextObservation(pendulum(discrete), {"torque_gain": (-1.0, 1.0)})
    kwargs = {"k_from": "context", "gate_class": SignedKGate}
    teacher: BaseAlgorithm = algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu")
    torch.manual_seed(1)
    student = make_student(teacher, 4, 16, encoder)
    student.encoder.scale.fill_(5.0)
    student.set_training_mode(False)
    return student


@pytest.mark.parametrize(
    ("algorithm", "policy", "encoder", "options"),
    [
        (PPO, KGatedPolicy, "mlp", {}),
        (PPO, KGatedPolicy, "gru", {"discrete": True}),
        (SAC, KGatedSACPolicy, "mlp", {}),
    ],
)
def test_a_file_acts_as_the_student_over_episodes(
    algorithm: Any, policy: Any, encoder: str, options: dict[str, Any], tmp_path: Path
) -> None:
    student = make(algorithm, policy, encoder, **options)
    export_onnx(student, tmp_path / "student.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx", providers=["CPUExecutionProvider"])
    module = StudentStep(student)
    assert [each.name for each in session.get_inputs()] == module.inputs
    assert [each.name for each in session.get_outputs()] == module.outputs
    env = gym.vector.SyncVectorEnv([lambda: pendulum(options.get("discrete", False))] * 3)
    observation, _ = env.reset(seed=0)
    state: Any = None
    file_state = [part.numpy() for part in module.example(3)[1:-1]]
    starts, over, ks = np.ones(3, dtype=bool), np.zeros(3, dtype=bool), []
    for _ in range(2 * 20 + 2):
        ks.append(student.k(observation, state, starts))
        action, state = student.predict(observation, state, starts, deterministic=True)
        given = dict(zip(module.inputs, [observation, *file_state, starts], strict=True))
        found, *file_state = session.run(None, given)
        assert found.dtype == action.dtype
        np.testing.assert_allclose(found, action, atol=1e-5)
        for wanted, part in zip(state, file_state, strict=True):
            np.testing.assert_allclose(part, wanted, atol=1e-5)
        starts = over  # the step after an end begins the next episode
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated | truncated
    assert torch.stack(ks).std(dim=0).min() > 1e-3, "k's change"


def test_a_file_takes_raw_observations_where_the_teachers_were_standardised(tmp_path: Path) -> None:
    env = VecNormalize(
        DummyVecEnv([lambda: ContextObservation(pendulum(False), {"torque_gain": (-1.0, 1.0)}, key="context")]),
        norm_obs_keys=["observation"],
    )
    env.obs_rms["observation"].mean[:], env.obs_rms["observation"].var[:] = [0.5, -1.0], [0.1, 4.0]
    kwargs = {"k_from": "context", "gate_class": SignedKGate}
    teacher = PPO(KGatedMultiInputPolicy, env, policy_kwargs=kwargs, seed=0, device="cpu")
    torch.manual_seed(1)
    student = make_student(teacher, 4, 16)
    student.encoder.scale.fill_(5.0)
    raw = np.float32([[0.3, -0.2], [1.0, 2.0], [0.4, -3.0]])
    for normalize in (True, False):
        export_onnx(student, tmp_path / "student.onnx", normalize=normalize)
        session = onnxruntime.InferenceSession(tmp_path / "student.onnx", providers=["CPUExecutionProvider"])
        module = StudentStep(student)
        file_state = [part.numpy() for part in module.example(1)[1:-1]]
        state, starts = None, np.ones(1, dtype=bool)
        for observation in raw:
            wanted, state = student.predict(observation[None], state, starts, deterministic=True)
            given = observation[None] if normalize else (observation[None] - [0.5, -1.0]) / np.sqrt([0.1, 4.0])
            inputs = dict(zip(module.inputs, [given.astype(np.float32), *file_state, starts], strict=True))
            found, *file_state = session.run(None, inputs)
            np.testing.assert_allclose(found, wanted, atol=1e-5)
            starts = np.zeros(1, dtype=bool)
    with pytest.raises(TypeError, match="normalize must be True or False, got 'nonsense'"):
        export_onnx(student, tmp_path / "student.onnx", normalize="nonsense")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="normalize must be True or False for a student, which has its teacher's"):
        export_onnx(student, tmp_path / "student.onnx", normalize=env)
