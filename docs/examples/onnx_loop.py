"""ONNX in a loop, as C would run it: buffers allocated once, one observation in, one action out, no PyTorch.

The calls are those of onnxruntime's C interface: CreateSession, CreateIoBinding, BindInput, BindOutput,
RunWithBinding.
"""

import os
import time

import gymnasium as gym
import numpy as np
import onnxruntime
from stable_baselines3 import PPO

import nb_gym  # noqa: F401, registers the environments
from nb_agents import KGatedPolicy, export_onnx

STEPS = int(os.environ.get("EXAMPLE_STEPS", "20000"))


def export() -> None:
    """At the desk: train, fold the gates, write the file."""
    model = PPO(KGatedPolicy, gym.make("NBPendulumControl-v0"), seed=0).learn(STEPS)
    export_onnx(model, "policy.onnx")


def control() -> None:
    """On the controller: nothing but onnxruntime, two buffers and a loop."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession("policy.onnx", options, providers=["CPUExecutionProvider"])
    observation = np.zeros((1, *session.get_inputs()[0].shape[1:]), np.float32)
    action = np.zeros((1, *session.get_outputs()[0].shape[1:]), np.float32)
    binding = session.io_binding()
    binding.bind_input("obs", "cpu", 0, np.float32, observation.shape, observation.ctypes.data)
    binding.bind_output("action", "cpu", 0, np.float32, action.shape, action.ctypes.data)

    plant = gym.make("NBPendulumControl-v0", A=1.8)  # stands for sensors and motors
    observation[0], _ = plant.reset(seed=0)
    total, done, times = 0.0, False, []
    while not done:
        began = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - began)
        observation[0], reward, terminated, truncated, _ = plant.step(action[0])
        total, done = total + float(reward), terminated or truncated
    print(f"return {total:.1f} in {len(times)} decisions of {1e6 * np.median(times):.0f} µs")


export()
control()
