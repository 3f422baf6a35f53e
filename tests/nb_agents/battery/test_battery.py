"""k-sets: that the right one acts, for a whole batch or for each row, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.envs import FakeImageEnv
from torch import nn

from nb_agents import KGate, KGatedCnnPolicy, KGatedPolicy, insert_gates
from nb_agents.battery.battery import Battery
from nb_agents.inference.distill import make_student
from tests.nb_agents.battery.models import (
    ON_POLICY,
    Residual,
    assert_unchanged,
    make,
    observations,
    outputs,
    shaken,
    weights,
)
from tests.nb_agents.inference.models import make_model


def test_the_source_task_is_kept_to_the_last_bit(model: Any) -> None:
    model.learn(32)
    observation = observations(model)
    battery = Battery(model)
    battery.capture("A", {"A": 1.0})
    on_a = outputs(model, observation)
    model.policy.train_only("gates")
    model.learn(64, reset_num_timesteps=False)
    battery.capture("B", {"A": 1.8})
    on_b = outputs(model, observation)
    assert not np.array_equal(on_a, on_b)
    for _ in range(2):
        battery.apply("A")
        assert np.array_equal(outputs(model, observation), on_a)
        battery.apply("B")
        assert np.array_equal(outputs(model, observation), on_b)
    assert list(battery) == ["A", "B"]
    assert battery.metadata("B") == {"A": 1.8}


def test_learning_goes_on_after_a_swap(model: Any) -> None:
    battery = shaken(model, "other")
    model.policy.train_only("gates")
    for name in ("other", "start"):
        battery.apply(name)
        model.learn(32, reset_num_timesteps=False)
        k = torch.cat([gate.k.detach() for gate in battery.gates.values()])
        assert 0 < (k - battery[name]).abs().max() < 1


def test_swaps_between_the_steps_of_a_rollout() -> None:
    model = make("PPO")
    battery = shaken(model, "other")
    seen = []

    def swap(local: dict[str, Any], _: Any) -> bool:
        battery.apply("other" if local["n_steps"] % 2 else "start")
        seen.append(outputs(model, observations(model)))
        return True

    model.policy.train_only("gates")
    model.learn(16, callback=swap)
    assert len(seen) == 16
    assert all(np.array_equal(seen[i], seen[i % 2]) for i in range(16))
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("block_size", [None, 1, 4])
def test_a_k_set_per_row_of_any_module(block_size: int | None) -> None:
    net = Residual(block_size).eval()
    battery = shaken(net, "a", "b")
    x = torch.randn(7, 1, 5, 5)
    rows = ["a", "b", "start", "a", "b", "b", "start"]
    before = weights(net)
    with torch.no_grad():
        with battery.per_row(rows):
            together = net(x)
        apart = []
        for row, name in zip(x, rows, strict=True):
            battery.apply(name)
            apart.append(net(row[None]))
        battery.apply("start")
    torch.testing.assert_close(together, torch.cat(apart))
    assert_unchanged(net, before)


@pytest.mark.parametrize("kind", [list, torch.tensor, np.array])
def test_a_k_set_per_observation(model: Any, kind: Any) -> None:
    battery = shaken(model, "a", "b")
    observation, rows = observations(model, 12), [i % 3 for i in range(12)]
    shared = outputs(model, observation)
    with battery.per_row(kind(rows)):
        together = outputs(model, observation)
        again = outputs(model, observation)
    assert np.array_equal(together, again)
    for index, name in enumerate(battery):
        battery.apply(name)
        np.testing.assert_allclose(together[index::3], outputs(model, observation)[index::3], rtol=1e-4, atol=1e-5)
    battery.apply("start")
    assert np.array_equal(outputs(model, observation), shared), "the context leaves nothing behind"


def test_contexts_nest_and_clean_up_after_errors() -> None:
    net = nn.Sequential(nn.Linear(2, 4), KGate(4), nn.Linear(4, 1)).double()
    battery = shaken(net, "a")
    x = torch.randn(3, 2, dtype=torch.float64)
    plain = net(x)
    with battery.per_row(["a"] * 3):
        outer = net(x)
        with (
            pytest.raises(ValueError, match=r"given 2 rows, but the batch has shape \(3, 4\)"),
            battery.per_row([0, 1]),
        ):
            net(x)
        assert torch.equal(net(x), outer)
    assert torch.equal(net(x), plain)
    sequence = torch.randn(3, 5, 2, dtype=torch.float64)
    with battery.per_row([0, 1, 0]):
        one = net(sequence)
        torch.testing.assert_close(one[1], torch.stack([net(sequence[:, t])[1] for t in range(5)]))


def test_images() -> None:
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=False)
    kwargs = {"features_extractor_kwargs": {"features_dim": 16}, "net_arch": [8]}
    model = PPO(KGatedCnnPolicy, env, policy_kwargs=kwargs, device="cpu", **ON_POLICY)
    battery = shaken(model, "a", "b")
    observation = observations(model, 4)
    with battery.per_row(["a", "b", "b", "start"]):
        together = outputs(model, observation)
    battery.apply("b")
    np.testing.assert_allclose(together[1:3], outputs(model, observation)[1:3], rtol=1e-4, atol=1e-6)


def test_interpolation_is_straight_in_k() -> None:
    battery = shaken(make(), "a", "b")
    for t in (0.0, 0.25, 1.0, 1.5):
        battery.interpolate("a", "b", t, "between", overwrite=True)
        torch.testing.assert_close(battery["between"], (1 - t) * battery["a"] + t * battery["b"])
        assert battery.metadata("between") == {"first": "a", "second": "b", "t": t}
    for t, end in ((0.0, "a"), (1.0, "b")):
        battery.interpolate("a", "b", t, "between", overwrite=True)
        assert torch.equal(battery["between"], battery[end])


def test_gates_of_several_dtypes_keep_what_they_hold() -> None:
    net = insert_gates(nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)))
    gates = [module for module in net.modules() if isinstance(module, KGate)]
    gates[0].half()
    with torch.no_grad():
        for gate in gates:
            gate.k.copy_(torch.linspace(0.1, 0.7, gate.k.numel()))
    kept = [gate.k.detach().clone() for gate in gates]
    battery = Battery(net)
    battery.capture("a")
    assert battery["a"].dtype == torch.float32
    with torch.no_grad():
        for gate in gates:
            gate.k.zero_()
    battery.apply("a")
    assert all(torch.equal(gate.k, k) for gate, k in zip(gates, kept, strict=True))
    with pytest.raises(ValueError, match=r"must be finite in torch\.float16"):
        battery.add("b", torch.full((battery.n_k,), 1e5))


K = torch.zeros(6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b.apply("none"), KeyError, r"no k-set named 'none'; there are \['start', 'a'\]"),
        (lambda b: b.remove("none"), KeyError, "no k-set named 'none'"),
        (lambda b: b["none"], KeyError, "no k-set named 'none'"),
        (lambda b: b.metadata("none"), KeyError, "no k-set named 'none'"),
        (lambda b: b.interpolate("a", "none", 0.5, "c"), KeyError, "no k-set named 'none'"),
        (lambda b: b.interpolate("a", "start", float("nan"), "c"), ValueError, "t must be any finite number"),
        (lambda b: b.interpolate("a", "start", 0.5, "a"), ValueError, "'a' is taken"),
        (lambda b: b.capture("a"), ValueError, "'a' is taken; pass overwrite=True"),
        (lambda b: b.capture("a", overwrite="no"), TypeError, "overwrite must be True or False, got 'no'"),
        (lambda b: b.capture(3), TypeError, "name must be a string, got 3"),
        (lambda b: b.capture("__metadata__"), ValueError, "neither empty nor '__metadata__'"),
        (lambda b: b.capture("c", {"env": object()}), TypeError, "metadata must be what JSON can hold"),
        (lambda b: b.capture("c", {"A": float("nan")}), TypeError, "metadata must be what JSON can hold"),
        (lambda b: b.capture("c", "A = 1.8"), TypeError, "metadata must be a mapping or None"),
        (lambda b: b.capture("\ud800"), ValueError, "text that UTF-8 can hold"),
        (
            lambda b: b.add("c", K.double() + 1e300),
            ValueError,
            r"finite in torch\.float32, the dtype of its parameter, got \[1e",
        ),
        (lambda b: b.interpolate("a", "start", 1e40, "c"), ValueError, r"t must be finite in torch\.float32"),
        (lambda b: b.interpolate("a", "start", 3e38, "c"), ValueError, "k of 'c' must be finite"),
        (lambda b: b.add("c", [0.0] * 6), TypeError, "must be a floating-point tensor"),
        (lambda b: b.add("c", K[:5]), ValueError, r"must have shape \(6,\), got \(5,\)"),
        (lambda b: b.add("c", K / 0), ValueError, "k of 'c' must be finite"),
        (lambda b: b.per_row("a").__enter__(), TypeError, "rows must be a sequence of names or indices"),
        (lambda b: b.per_row(["a", "none"]).__enter__(), KeyError, "no k-set named 'none'"),
        (lambda b: b.per_row([]).__enter__(), ValueError, "one entry per row"),
        (lambda b: b.per_row([0, 2]).__enter__(), ValueError, r"indices in \[0, 2\), got 2"),
        (lambda b: b.per_row([-1]).__enter__(), ValueError, r"indices in \[0, 2\), got -1"),
        (lambda b: b.per_row([0.5]).__enter__(), TypeError, "names or integers, got 0.5"),
        (lambda b: b.per_row(torch.zeros(2, 2).long()).__enter__(), ValueError, r"shape \(batch,\), got \(2, 2\)"),
    ],
)
def test_bad_input_changes_nothing(call: Any, error: type[Exception], message: str) -> None:
    net = Residual()
    battery = shaken(net, "a")
    before, kept = weights(net), {name: battery[name] for name in battery}
    with pytest.raises(error, match=message):
        call(battery)
    assert_unchanged(net, before)
    assert list(battery) == list(kept)
    assert all(torch.equal(battery[name], k) for name, k in kept.items())


def test_networks_that_have_no_k_sets() -> None:
    with pytest.raises(ValueError, match="network has no k-gates: Linear"):
        Battery(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="network has no k-gates: ActorCriticPolicy"):
        Battery(PPO("MlpPolicy", "Pendulum-v1", device="cpu"))
    conditioned = make_model(PPO, KGatedPolicy, False, {})
    for network in (conditioned, conditioned.policy, make_student(conditioned, 4)):
        with pytest.raises(
            ValueError, match="network's k's are computed for each row of a batch: take the policy `at` a context"
        ):
            Battery(network)
    with pytest.raises(TypeError, match=r"network must be a torch.nn.Module or an SB3 model, got str"):
        Battery("ppo.zip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no k-set to save"):
        Battery(Residual()).save("unused")
    net = Residual()
    with torch.no_grad():
        net.units.k[0] = torch.nan
    with pytest.raises(ValueError, match="k of 'a' must be finite"):
        Battery(net).capture("a")


def test_a_copy_is_handed_out() -> None:
    battery = shaken(Residual(), "a")
    k = battery["a"]
    battery["a"].zero_()
    battery.metadata("a")["note"] = 1
    assert torch.equal(battery["a"], k)
    assert battery.metadata("a") == {}
    assert len(battery) == 2
    assert "a" in battery
    assert "b" not in battery
    assert repr(battery) == "Battery(Residual, n_k=6, names=['start', 'a'])"
