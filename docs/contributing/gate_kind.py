"""A gate kind in one class: it trains, folds, exports to ONNX, and is kept in a battery (extras onnx and battery)."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from stable_baselines3 import PPO

from nb_agents import Battery, FingerprintError, KGate, KGatedPolicy, export_onnx, fold_gates


class ExponentialGate(KGate):
    """A gate that opens without bound: e^k for a layer's k, where the default kind's stays below 2."""

    k_start = 0.0  # where phi is 1/2, so that a new gate is 1: with gate_max=2, M multiplies by 2 in all

    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        """½ · e^k, element by element; its derivative, which the k-target needs, is found by autograd."""
        return 0.5 * torch.exp(k)


def main(folder: Path) -> None:
    """Train the k's for a few steps, and compare what the policy does in all of its forms."""
    kwargs = {"gate_class": ExponentialGate, "k_target_weight": 0.1, "k_lr_ratio": 100.0}
    model = PPO(KGatedPolicy, "Pendulum-v1", n_steps=64, policy_kwargs=kwargs, seed=0, device="cpu")
    observations = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    untrained = model.predict(observations, deterministic=True)[0]
    battery = Battery(model)
    battery.capture("before")
    model.policy.train_only("gates")
    model.learn(256)
    battery.capture("after")
    trained = model.predict(observations, deterministic=True)[0]
    assert np.abs(trained / untrained - 1).min() > 0.01, "every action has moved"

    np.testing.assert_allclose(fold_gates(model).predict(observations, deterministic=True)[0], trained, atol=1e-5)
    export_onnx(model, folder / "policy.onnx")
    (exported,) = onnxruntime.InferenceSession(folder / "policy.onnx").run(None, {"obs": observations})
    np.testing.assert_allclose(exported, trained, atol=1e-5)

    model.save(folder / "model")
    battery.save(folder / "tasks.safetensors")
    loaded = PPO.load(folder / "model", device="cpu")
    Battery.load(folder / "tasks.safetensors", loaded).apply("before")
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], untrained)
    with suppress(FingerprintError):  # k-sets of one kind mean nothing to another
        Battery.load(folder / "tasks.safetensors", PPO(KGatedPolicy, "Pendulum-v1", device="cpu"))
        raise AssertionError("k-sets of another kind were accepted")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
