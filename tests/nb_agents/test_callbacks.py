from __future__ import annotations

import math

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger, make_output_format

from nb_agents import KGateCallback, KGatedPolicy


def test_gates_losses_and_rates_reach_the_logger(tmp_path: object) -> None:
    model = PPO(KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, seed=0, device="cpu", learning_rate=1e-3)
    model.set_logger(Logger(str(tmp_path), [make_output_format("csv", str(tmp_path))]))
    model.learn(16, callback=KGateCallback())
    model.logger.close()
    with open(f"{tmp_path}/progress.csv") as file:
        names, values = (line.strip().split(",") for line in list(file)[:2])
    row = dict(zip(names, values, strict=True))
    start = 1 / (1 + math.exp(-0.25))
    assert {name for name in row if name.startswith("gates/")} == {
        *(f"gates/layer_{i}" for i in range(2)),
        *(f"gates/layer_{i}_block_{j}" for i in range(2) for j in range(4)),
    }
    assert float(row["gates/layer_1_block_3"]) == pytest.approx(start, rel=1e-6)
    assert float(row["train/k_target_loss"]) == pytest.approx(2 * (start - 0.15) ** 2, rel=1e-5)
    assert float(row["train/k_learning_rate"]) == pytest.approx(5e-3)


def test_a_plain_policy_is_refused() -> None:
    model = PPO("MlpPolicy", "Pendulum-v1", n_steps=16, batch_size=16, device="cpu")
    with pytest.raises(TypeError, match="needs a k-gated policy, got ActorCriticPolicy"):
        model.learn(16, callback=KGateCallback())
