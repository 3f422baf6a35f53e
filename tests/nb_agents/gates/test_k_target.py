from __future__ import annotations

import copy
import gc
import math
import weakref
from typing import Any

import pytest
import torch

from nb_agents.gates.gate import KGate
from nb_agents.gates.k_target import KTarget


def gates(n: int = 3) -> list[KGate]:
    made = [KGate(8, block_size=4).double() for _ in range(n)]
    for gate in made:
        gate.k.data = torch.randn(3, dtype=torch.float64)
    return made


def test_loss_is_the_formula() -> None:
    made = gates()
    regularizer = KTarget(0.3, 0.1, task_difficulty=0.5)
    level = 0.3 * (0.5 + 0.3 * 0.5)
    expected = sum((1 / (1 + math.exp(-gate.k[0].item())) - level) ** 2 for gate in made)
    assert regularizer(made).item() == pytest.approx(expected, rel=1e-12)


def test_gradient_is_that_of_the_loss_by_finite_differences() -> None:
    made, regularizer, step = gates(), KTarget(0.3, 0.1, task_difficulty=0.7), 1e-6
    for gate in made:
        gate.regularizers = [regularizer]
        gate(torch.zeros(1, 8, dtype=torch.float64)).sum().backward()  # a task loss with zero gradient
        for i in range(3):
            with torch.no_grad():
                gate.k[i] += step
                high = regularizer(made).item()
                gate.k[i] -= 2 * step
                low = regularizer(made).item()
                gate.k[i] += step
            assert gate.k.grad[i].item() == pytest.approx(0.1 * (high - low) / (2 * step), abs=1e-9)


def test_weight_zero_leaves_the_gradient_to_the_bit() -> None:
    plain, regularized = gates(1)[0], gates(1)[0]
    regularized.k.data.copy_(plain.k.data)
    regularized.regularizers = [KTarget(weight=0.0)]
    x = torch.randn(5, 8, dtype=torch.float64)
    for gate in (plain, regularized):
        gate(x).square().sum().backward()
    assert torch.equal(plain.k.grad, regularized.k.grad)


def test_a_frozen_gate_gets_no_gradient() -> None:
    gate = gates(1)[0]
    gate.regularizers = [KTarget()]
    gate.k.requires_grad_(False)
    x = torch.ones(1, 8, dtype=torch.float64, requires_grad=True)
    gate(x).sum().backward()
    assert gate.k.grad is None


@pytest.mark.parametrize("scale", [1.0, 3.0, 65536.0])
def test_as_a_part_of_the_loss_it_acts_under_a_gradient_scaler(scale: float) -> None:
    """What the docs say to do: the loss is scaled with the rest, and nothing is added to the scaled gradient."""
    made, regularizer = [gate.float() for gate in gates()], KTarget(0.3, 0.0, task_difficulty=0.5)
    for gate in made:
        gate.regularizers = [regularizer]
    optimizer = torch.optim.SGD([gate.k for gate in made])
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    scaler.scale(0.1 * regularizer(made)).backward()
    scaler.unscale_(optimizer)
    for gate in made:
        sigma = gate.k.detach()[0].sigmoid()
        expected = 0.2 * (sigma - regularizer.level) * sigma * (1 - sigma)
        torch.testing.assert_close(gate.k.grad, torch.stack([expected, expected * 0, expected * 0]))


def test_difficulty_is_saved_with_the_state() -> None:
    saved, loaded = KTarget(task_difficulty=0.25), KTarget()
    loaded.load_state_dict(saved.state_dict())
    assert loaded.task_difficulty == 0.25


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"task_difficulty": 1.5}, r"task_difficulty must be a number in \[0, 1\], got 1.5"),
        ({"task_difficulty": math.nan}, "task_difficulty"),
        ({"weight": -1.0}, "k_target_weight must be a finite number >= 0, got -1.0"),
        ({"target": math.inf}, "k_target must be a finite number >= 0, got inf"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KTarget(**kwargs)


def test_a_refused_difficulty_changes_nothing() -> None:
    regularizer = KTarget(task_difficulty=0.5)
    with pytest.raises(ValueError, match="task_difficulty"):
        regularizer.task_difficulty = 2.0
    assert regularizer.task_difficulty == 0.5


def test_a_gate_that_nobody_has_any_more_is_freed() -> None:
    """And one that shares its k keeps the regulariser, which counts once."""
    gate = gates(1)[0]
    gate.regularizers = [KTarget()]
    task = torch.zeros(1, 8, dtype=torch.float64)
    gate(task).sum().backward()
    expected, seen, twin = gate.k.grad.clone(), weakref.ref(gate), copy.copy(gate)
    assert expected.abs().sum() > 0
    for _ in range(2):
        twin.k.grad = None
        twin(task).sum().backward()
        assert torch.equal(twin.k.grad, expected)
        gate = None
        gc.collect()
        assert seen() is None
