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

from nb_agents import KGatedPolicy, KGatedSACPolicy, SignedKGate, StudentPolicy, export_onnx
from nb_agents.export.student import StudentStep
from nb_agents.inference.distill import make_student
from nb_gym.wrappers import ContextObservation


class TwoTorques(gym.ActionWrapper[Any, Any, Any]):
    """Full torque to either side."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = gym.spaces.Discrete(2)

    def action(self, action: Any) -> Any:
        return np.float32([2.0 if action else -2.0])


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
