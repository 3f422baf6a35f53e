from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import update_learning_rate

from nb_agents import ActorCriticGates
from nb_agents.policies.optim import GATES, WEIGHTS, optimized_parts, two_rates

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


def options(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What the optimizer does to each parameter, by the parameter's id; without what is ours to set."""
    own = ("params", "param_names", "name", "lr_ratio", "fused")
    return {
        id(p): {key: value for key, value in group.items() if key not in own}
        for group in optimizer.param_groups
        for p in group["params"]
    }


def ratios(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    return {id(p): group["lr_ratio"] for group in optimizer.param_groups for p in group["params"]}


class Lookahead(torch.optim.SGD):
    """An optimizer with state of its own, made at construction, and an argument that no one else has."""

    def __init__(self, params: Any, lr: float, pull: float) -> None:
        super().__init__(params, lr)
        self.pull = pull
        self.slow = {id(p): p.detach().clone() for group in self.param_groups for p in group["params"]}


GROUPED = [
    lambda w, v, k: torch.optim.AdamW([w, v, k], weight_decay=0.3, betas=(0.5, 0.6), amsgrad=True),
    lambda w, v, k: torch.optim.AdamW([{"params": [w], "weight_decay": 0.1}, {"params": [v, k], "lr": 0.5}]),
    lambda w, v, k: torch.optim.SGD([{"params": [w, v]}, {"params": [k], "momentum": 0.7}], lr=0.1),
    lambda w, v, k: torch.optim.RMSprop([{"params": [k], "alpha": 0.1}, {"params": [w, v], "name": "mine"}], lr=0.1),
    lambda w, v, k: torch.optim.Adagrad([w, v, k], initial_accumulator_value=3.0),
    lambda w, v, k: torch.optim.Adam([w, v, k], foreach=False),
    lambda w, v, k: torch.optim.Adam([("w", w), ("v", v), ("k", k)], eps=0.1),
    lambda w, v, k: Lookahead([w, v, k], lr=0.1, pull=0.5),
]


@pytest.mark.parametrize("make", GROUPED)
def test_every_setting_of_the_users_stays(make: Any) -> None:
    (weight, k), (other, _) = parameters(), parameters()
    optimizer = make(weight, other, k)
    before, state = options(optimizer), {id(p): dict(s) for p, s in optimizer.state.items()}
    attributes = vars(optimizer).keys()
    names = [group["name"] for group in optimizer.param_groups if "name" in group]
    cls, optimizer = type(optimizer), two_rates(optimizer, [k], 5.0)
    assert isinstance(optimizer, cls)
    assert options(optimizer) == before
    assert {id(p): dict(s) for p, s in optimizer.state.items()} == state
    assert vars(optimizer).keys() == attributes
    assert ratios(optimizer) == {id(weight): 1.0, id(other): 1.0, id(k): 5.0}
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert len(groups) == len(optimizer.param_groups), "the names differ"
    assert set(names) <= groups.keys()
    assert all(group["params"] for group in groups.values())
    for group in groups.values():
        assert len(group.get("param_names", group["params"])) == len(group["params"])


@pytest.mark.parametrize("make", GROUPED)
def test_ratio_1_steps_as_the_users_optimizer_does(make: Any) -> None:
    """Bit for bit, or to float32 rounding where PyTorch's fused implementation is taken."""
    results = []
    for ratio in (None, 1.0):
        (weight, k), (other, _) = parameters(), parameters()
        optimizer = make(weight, other, k)
        if ratio is not None:
            optimizer = two_rates(optimizer, [k], ratio)
        run(optimizer, [1e-2, 1e-3], weight, other, k)
        results.append((weight, other, k))
    exact = not optimizer.param_groups[0].get("fused")
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(plain, ours, rtol=0.0, atol=0.0 if exact else 1e-6)


def test_ks_of_several_groups_keep_apart() -> None:
    (weight, k), (other, k_2) = parameters(), parameters()
    groups = [{"params": [weight, k], "weight_decay": 0.1}, {"params": [other, k_2], "lr_ratio": 10.0}]
    optimizer = two_rates(torch.optim.AdamW(groups), [k, k_2], 5.0)
    assert [group["name"] for group in optimizer.param_groups] == ["weights", "weights_1", "gates", "gates_1"]
    assert list(ratios(optimizer).values()) == [1.0, 10.0, 5.0, 50.0]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.01, 0.1, 0.01]


@pytest.mark.parametrize("given", [{}, {"lr_ratio": 3.0}, {"name": "late", "weight_decay": 0.2}])
def test_groups_added_later(given: dict[str, Any]) -> None:
    (weight, k), (late, _) = parameters(), parameters()
    optimizer = two_rates(torch.optim.SGD([weight, k], lr=0.1), [k], 5.0)
    optimizer.add_param_group({"params": [late], **given})
    assert optimizer.param_groups[-1]["name"] == given.get("name", "weights_1")
    rates = [1e-2, 1e-3]
    run(optimizer, rates, late)
    (alone, _) = parameters()
    plain = torch.optim.SGD([alone], lr=0.1, weight_decay=given.get("weight_decay", 0.0))
    run(plain, [rate * given.get("lr_ratio", 1.0) for rate in rates], alone)
    torch.testing.assert_close(late, alone)
    optimizer.load_state_dict(optimizer.state_dict())
    assert ratios(optimizer)[id(late)] == given.get("lr_ratio", 1.0)


def test_hooks_and_schedulers_of_before_stay() -> None:
    weight, k = parameters()
    optimizer, calls = torch.optim.SGD([weight, k], lr=0.1), []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)  # puts a step of its own over the class's
    start = k.detach().clone()
    optimizer = two_rates(optimizer, [k], 5.0)
    run(optimizer, [1e-2], weight, k)
    assert calls == ["before"]
    torch.testing.assert_close(start - k, 5e-2 * k.grad)  # type: ignore[operator]
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1e-2]
    scheduler.step()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (torch.optim.LBFGS, TypeError, "must take parameter groups, .* LBFGS does not"),
        (lambda p: torch.optim.SGD([{"params": p, "lr_ratio": -1.0}]), ValueError, "lr_ratio must be .* got -1.0"),
        (lambda p: torch.optim.SGD([{"params": p, "lr_ratio": "2"}]), TypeError, "lr_ratio must be"),
        (lambda p: two_rates(torch.optim.SGD(p), p, 5.0), ValueError, "must not have a second rate yet"),
    ],
)
def test_what_cannot_have_two_rates_is_refused(make: Any, error: type[Exception], message: str) -> None:
    optimizer = make(list(parameters()))
    before = type(optimizer), len(optimizer.param_groups)
    with pytest.raises(error, match=message):
        two_rates(optimizer, optimizer.param_groups[0]["params"], 5.0)
    assert (type(optimizer), len(optimizer.param_groups)) == before


def test_a_partial_keeps_its_settings_with_every_algorithm(gradient_algorithm: Any) -> None:
    kwargs = {"optimizer_class": partial(torch.optim.AdamW, weight_decay=0.3, amsgrad=True)}
    policy = gradient_algorithm.make(policy_kwargs=kwargs).learn(64).policy
    for part in optimized_parts(policy).values():
        for group in part.optimizer.param_groups:
            assert (group["weight_decay"], group["amsgrad"]) == (0.3, True)
    assert any(group["name"] == GATES for p in optimized_parts(policy).values() for group in p.optimizer.param_groups)


class NoDecayOnVectors(ActorCriticPolicy):
    """A policy class that makes an optimizer of its own."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        vectors, matrices = ([p for p in self.parameters() if (p.dim() > 1) is matrix] for matrix in (False, True))
        groups = [{"params": matrices, "weight_decay": 0.1, "lr_ratio": 2.0}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr_schedule(1))


class GatedNoDecayOnVectors(ActorCriticGates, NoDecayOnVectors):
    pass


def test_a_policys_own_groups_stay_through_training_and_files(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"n_steps": 16, "batch_size": 8, "seed": 0, "device": "cpu"}
    kwargs = {"k_lr_ratio": 3.0}
    model = PPO(GatedNoDecayOnVectors, "Pendulum-v1", policy_kwargs=kwargs, **settings).learn(32)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=model.get_env(), device="cpu").learn(16)
    for policy in (model.policy, loaded.policy):
        groups = {group["name"]: group for group in policy.optimizer.param_groups}
        assert {name: (group["weight_decay"], group["lr_ratio"]) for name, group in groups.items()} == {
            "weights": (0.1, 2.0),
            "weights_1": (0.0, 1.0),
            "gates": (0.0, 3.0),
        }
        assert [id(p) for p in groups["gates"]["params"]] == [id(gate.k) for gate in policy.gates.values()]
