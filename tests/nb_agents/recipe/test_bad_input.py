"""Labels, gradients and settings that are refused before anything moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from nb_agents.recipe.trainer import NeuralBatteryTrainer
from tests.nb_agents.recipe.labels import batch, equal, parameters


@pytest.mark.parametrize(
    "change",
    [
        {"states": np.zeros((40, 3))},
        {"states": np.zeros(40)},
        {"states": np.zeros((0, 2)), "expert_actions": np.zeros((0, 1)), "returns": np.zeros(0)},
        {"states": [[0.0, 0.0], [0.0]]},
        {"states": None},
        {"states": np.full((40, 2), np.nan)},
        {"expert_actions": np.zeros((40, 2))},
        {"expert_actions": np.zeros((39, 1))},
        {"expert_actions": np.full((40, 1), np.inf)},
        {"expert_actions": ["left"] * 40},
        {"expert_actions": [["0.5"]] * 40},
        {"expert_actions": np.full((40, 1), 1j)},
        {"states": [torch.zeros(2, requires_grad=True)] * 40},
        {"returns": np.zeros(41)},
        {"returns": np.zeros((40, 2))},
        {"returns": np.full(40, -np.inf)},
        {"returns": np.full(40, 1e300)},
        {"task_difficulty": -0.1},
        {"task_difficulty": 1.1},
        {"task_difficulty": math.nan},
    ],
)
def test_bad_labels_are_refused_by_name_before_anything_moves(change: dict[str, Any]) -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0)
    trainer.train_step(**batch(), task_difficulty=0.5)
    before = parameters(trainer)
    with pytest.raises(ValueError, match=next(iter(change))):
        trainer.train_step(**(batch() | {"task_difficulty": 0.25} | change))
    assert equal(parameters(trainer), before)
    assert trainer.regularizer.task_difficulty == 0.5


def test_a_gradient_that_overflows_moves_nothing() -> None:
    trainer = NeuralBatteryTrainer(2, 1, seed=0)
    before = parameters(trainer)
    with pytest.raises(RuntimeError, match="non-finite"):
        trainer.train_step(**(batch() | {"returns": np.full(40, 1e30)}))
    assert equal(parameters(trainer), before)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("state_dim", 0, ValueError),
        ("action_dim", 1.5, ValueError),
        ("use_hierarchical", "yes", TypeError),
        ("lr", 0.0, ValueError),
        ("k_lr", -1.0, ValueError),
        ("k_target_weight", math.inf, ValueError),
        ("learn_k_target", 1, TypeError),
        ("value_coef", -1.0, ValueError),
        ("max_grad_norm", "1", TypeError),
        ("updates_per_step", 0, ValueError),
        ("batch_size", True, ValueError),
        ("net_arch", (), ValueError),
        ("net_arch", (64, 0), ValueError),
        ("net_arch", 64, TypeError),
        ("block_size", 0, ValueError),
        ("block_size", None, ValueError),
        ("clamp_gate", None, TypeError),
        ("max_torque", 0.0, ValueError),
    ],
)
def test_bad_settings_are_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        NeuralBatteryTrainer(**({"state_dim": 2, "action_dim": 1} | {name: value}))
