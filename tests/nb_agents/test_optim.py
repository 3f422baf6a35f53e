from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from stable_baselines3.common.utils import update_learning_rate

from nb_agents.optim import GATES, WEIGHTS, two_rates

OPTIMIZERS = [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop]


def parameters() -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    torch.manual_seed(3)
    return torch.nn.Parameter(torch.randn(4)), torch.nn.Parameter(torch.randn(4))


def run(optimizer: torch.optim.Optimizer, rates: list[float], *params: torch.nn.Parameter) -> None:
    generator = torch.Generator().manual_seed(1)
    for rate in rates:
        update_learning_rate(optimizer, rate)
        for parameter in params:
            parameter.grad = torch.randn(4, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_each_group_steps_as_the_plain_optimizer_with_its_own_rate(cls: type[Any]) -> None:
    """Bit equality with two plain optimizers, through a schedule that SB3 writes into every group."""
    rates = [1e-2, 5e-3, 1e-3]
    weight, k = parameters()
    optimizer = two_rates(cls([weight, k], lr=0.1), [k], 5.0)
    run(optimizer, rates, weight, k)

    weight_alone, k_alone = parameters()
    fused = {"fused": True} if "fused" in optimizer.defaults else {}
    run_both = [cls([weight_alone], lr=0.1, **fused), cls([k_alone], lr=0.1, **fused)]
    generator = torch.Generator().manual_seed(1)
    for rate in rates:
        for plain, parameter, ratio in zip(run_both, (weight_alone, k_alone), (1.0, 5.0), strict=True):
            update_learning_rate(plain, rate * ratio)
            parameter.grad = torch.randn(4, generator=generator)
            plain.step()
    assert torch.equal(weight, weight_alone)
    assert torch.equal(k, k_alone)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-3], "SB3's rate stands after the step"


def test_groups_are_named() -> None:
    weight, k = parameters()
    optimizer = two_rates(torch.optim.Adam([weight, k]), [k], 5.0)
    assert {group["name"]: group["params"] for group in optimizer.param_groups} == {WEIGHTS: [weight], GATES: [k]}


def test_an_optimizer_without_gates_is_left_alone() -> None:
    weight, k = parameters()
    optimizer = torch.optim.Adam([weight])
    assert two_rates(optimizer, [k], 5.0) is optimizer


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_loading_keeps_the_own_ratio_and_goes_on_as_if_uninterrupted(cls: type[Any]) -> None:
    weight, k = parameters()
    optimizer = two_rates(cls([weight, k], lr=0.1), [k], 5.0)
    run(optimizer, [1e-2] * 3, weight, k)
    weight_2, k_2 = (torch.nn.Parameter(p.detach().clone()) for p in (weight, k))
    resumed = two_rates(cls([weight_2, k_2], lr=0.1), [k_2], 5.0)
    stranger = copy.deepcopy(optimizer.state_dict())
    stranger["param_groups"][1]["lr_ratio"] = 99.0
    resumed.load_state_dict(stranger)
    run(optimizer, [1e-2] * 2, weight, k)
    run(resumed, [1e-2] * 2, weight_2, k_2)
    assert torch.equal(weight, weight_2)
    assert torch.equal(k, k_2)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
def test_copies_step_alike(copied: Any) -> None:
    weight, k = parameters()
    optimizer = two_rates(torch.optim.Adam([weight, k]), [k], 5.0)
    run(optimizer, [1e-2] * 2, weight, k)
    (weight_2, k_2), optimizer_2 = copied(((weight, k), optimizer))
    run(optimizer, [1e-2], weight, k)
    run(optimizer_2, [1e-2], weight_2, k_2)
    assert torch.equal(weight, weight_2)
    assert torch.equal(k, k_2)
    assert not torch.equal(k, parameters()[1])


def test_step_hooks_run_once() -> None:
    weight, k = parameters()
    optimizer = two_rates(torch.optim.Adam([weight, k]), [k], 5.0)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    run(optimizer, [1e-2], weight, k)
    assert calls == ["before"]


def test_the_rate_is_restored_when_a_step_fails() -> None:
    weight, k = parameters()
    optimizer = two_rates(torch.optim.SGD([weight, k], lr=0.1), [k], 5.0)

    def closure() -> float:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        optimizer.step(closure)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]
