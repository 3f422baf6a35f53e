"""What is left of a gated policy when it leaves: folded into plain weights, and written as an ONNX file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nb_agents import export_onnx, fold_gates

STEPS = 40
"""Decisions in each environment whose observations the policies are compared on."""


def exported(model: Any) -> dict[str, float]:
    """How far the folded policy and the ONNX file are from the gated policy, on observations on its way.

    Args:
        model: PPO with a gated policy, in environments with a `VecNormalize`.

    Returns:
        The largest differences of an action's numbers, "folded" and "onnx", the largest of these numbers, "action",
        and the file's size, "bytes".
    """
    import onnxruntime

    env, seen, raw = model.get_env(), [], []
    observation = env.reset()
    for _ in range(STEPS):
        seen.append(observation)
        raw.append(env.get_original_obs().astype(env.observation_space.dtype))
        observation = env.step(model.predict(observation, deterministic=True)[0])[0]
    actions = _actions(model, seen)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        export_onnx(model, path)
        size = path.stat().st_size
        session = onnxruntime.InferenceSession(path)
        outside = np.concatenate([session.run(None, {session.get_inputs()[0].name: each})[0] for each in raw])
    folded = _actions(fold_gates(model), seen)
    return {
        "folded": float(np.abs(folded - actions).max()),
        "onnx": float(np.abs(outside - actions).max()),
        "action": float(np.abs(actions).max()),
        "bytes": float(size),
    }


def _actions(model: Any, observations: list[Any]) -> Any:
    return np.concatenate([model.predict(each, deterministic=True)[0] for each in observations])
