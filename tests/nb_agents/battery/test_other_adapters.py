"""Batteries of biases, output layers and low-rank adapters: the right numbers act, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from stable_baselines3 import PPO
from torch import nn

from nb_agents import Battery, FingerprintError, Transitions, describe_adapters, fleet
from nb_agents.adapters.lora import put_lora
from nb_agents.adapters.table import ADAPTERS
from nb_agents.battery.distributions import components, divergence, prepare
from tests.nb_agents.adapters.models import changed, make, make_plain, observations, outputs, shake, state

OTHERS = ("head", "biases", "lora")
NUMBERS = {"gates": 2 * (1 + 2), "head": 16 + 1, "biases": 16 + 16 + 1, "lora": 2 * ((3 + 16) + (16 + 16) + (16 + 1))}
"""Of an actor from 3 numbers over 16 and 16 units to 1, with blocks of 8 and rank 2."""


def filled(model: Any, adapter: str, *names: str) -> Battery:
    """A battery of the network's own numbers, "start", and random ones near them."""
    battery = Battery(model, adapter)
    battery.capture("start")
    generator = torch.Generator().manual_seed(0)
    for name in names:
        battery.add(name, battery["start"] + 0.3 * torch.randn(battery.n_k, generator=generator), {"name": name})
    return battery


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_set_comes_back_to_the_last_bit_and_from_a_file(adapter: str, tmp_path: Path) -> None:
    model = make()
    shake(model.policy)
    battery = filled(model, adapter)
    assert (battery.adapter, battery.n_k) == (adapter, NUMBERS[adapter])
    model.policy.train_only(adapter, log_std=False)
    before, acted = state(model.policy), outputs(model)
    model.learn(32, reset_num_timesteps=False)
    own = set(ADAPTERS[adapter].parameters(model.policy))
    moved = changed(model.policy, before)
    assert {key for key in moved if not key.startswith(("value_net", "mlp_extractor.value"))} <= own
    battery.capture("later", {"A": 1.8})
    acts = outputs(model)
    assert not np.array_equal(acts, acted)
    battery.save(tmp_path / "sets")
    model.save(tmp_path / "model")
    loaded = Battery.load(tmp_path / "sets", PPO.load(tmp_path / "model", device="cpu"), adapter)
    assert loaded.metadata("later") == {"A": 1.8}
    for each in (battery, loaded):
        for name, expected in (("start", acted), ("later", acts)):
            each.apply(name)
            assert np.array_equal(each.network.predict(observations(model), deterministic=True)[0], expected)
    battery.apply("start")
    for key in own:
        assert torch.equal(model.policy.state_dict()[key], before[key])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_distances_are_those_of_the_policies_and_change_nothing(adapter: str) -> None:
    model = make()
    shake(model.policy)
    battery = filled(model, adapter, "a", "b")
    seen, before = observations(model), state(model.policy)
    parameters = dict(model.policy.named_parameters())
    found = battery.distances(seen)
    assert not changed(model.policy, before)
    assert all(p is parameters[key] for key, p in model.policy.named_parameters())
    policies = []
    for name in battery:
        battery.apply(name)
        policies.append(components(model.policy, prepare(model.policy, seen)))
    with torch.no_grad():
        expected = [[float(divergence(p, q).mean()) for q in policies] for p in policies]
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=1e-4)
    assert found[0, 1] > 1e-6
    assert battery.distance("a", "b", seen) == found[1, 2]


def test_nearest_asks_the_dynamics_whatever_is_kept() -> None:
    battery = filled(make(), "biases", "other")
    rng = np.random.default_rng(0)

    def steps(gain: float, n: int) -> Transitions:
        before, actions = rng.normal(size=(n, 3)), rng.uniform(-1, 1, (n, 1))
        return Transitions(before, actions, before + gain * actions * [1.0, 0.5, -1.0])

    battery.fit_dynamics("start", steps(0.5, 100))
    battery.fit_dynamics("other", steps(-0.5, 100))
    assert battery.nearest(steps(-0.5, 20)) == "other"


def test_lora_sets_are_the_same_where_their_products_are() -> None:
    model = make(rank=2)
    shake(model.policy)
    battery = filled(model, "lora")
    turn = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(0)))[0]
    with torch.no_grad():
        for name, parameter in model.policy.named_parameters():
            if ".lora_A." in name:
                parameter.copy_(turn @ parameter)
            elif ".lora_B." in name:
                parameter.copy_(parameter @ turn.T)
    battery.capture("turned")
    battery.add("other", battery["start"] * 1.1)
    assert not torch.allclose(battery["start"], battery["turned"])
    assert battery.same("start", "turned")
    assert not battery.same("start", "other")
    assert battery.distance("start", "turned", observations(model)) < 1e-10


def test_straight_lines_join_weights_but_no_products() -> None:
    for adapter in ("head", "biases"):
        battery = filled(make(), adapter, "a")
        battery.interpolate("start", "a", 0.25, "between")
        torch.testing.assert_close(battery["between"], 0.75 * battery["start"] + 0.25 * battery["a"])
        assert battery.same("a", "a")
        assert not battery.same("start", "a")
    battery = filled(make(), "lora", "a")
    with pytest.raises(TypeError, match="interpolate takes no sets of 'lora': the product of two matrices"):
        battery.interpolate("start", "a", 0.5, "between")
    assert list(battery) == ["start", "a"]


@pytest.mark.parametrize("adapter", OTHERS)
def test_what_is_defined_for_gates_alone_is_refused_by_name(adapter: str) -> None:
    battery = filled(make(), adapter)
    assert battery.gates == {}
    with pytest.raises(TypeError, match=f"per_row takes a battery of 'gates', got one of '{adapter}'"):
        battery.per_row(["start"]).__enter__()
    with pytest.raises(TypeError, match=f"capture_from takes a battery of 'gates', got one of '{adapter}'"):
        battery.capture_from(None, None, None, "a")  # type: ignore[arg-type]
    if adapter != "lora":
        with pytest.raises(TypeError, match=f"export takes a battery of 'lora'.*got one of '{adapter}'"):
            battery.export("start", "nowhere")


@pytest.mark.parametrize("written", ADAPTERS)
@pytest.mark.parametrize("wanted", ADAPTERS)
def test_another_adapters_file_is_refused_by_both_names(written: str, wanted: str, tmp_path: Path) -> None:
    model = make()
    filled(model, written).save(tmp_path / "sets")
    before = state(model.policy)
    if written == wanted:
        Battery.load(tmp_path / "sets", model, wanted)
    else:
        with pytest.raises(FingerprintError, match=f"for the adapter '{written}', not '{wanted}'; nothing was changed"):
            Battery.load(tmp_path / "sets", model, wanted)
    assert not changed(model.policy, before)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_all_but_the_adapters_own_numbers_is_in_the_fingerprint(adapter: str) -> None:
    model = make()
    shake(model.policy)
    battery = filled(model, adapter, "a")
    for kind in ADAPTERS.values():
        for path, parameter in kind.parameters(model.policy).items():
            was = parameter.detach().clone()
            with torch.no_grad():
                parameter.add_(1.0)
            if path in ADAPTERS[adapter].parameters(model.policy):
                battery.apply("a")
            else:
                with pytest.raises(FingerprintError, match="other weights"):
                    battery.apply("a")
            with torch.no_grad():
                parameter.copy_(was)
    battery.apply("start")


@pytest.mark.parametrize("kwargs", [{"rank": 3}, {"lora_alpha": 3.0}])
def test_another_rank_or_alpha_is_another_architecture(kwargs: Any, tmp_path: Path) -> None:
    filled(make(), "lora").save(tmp_path / "sets")
    with pytest.raises(FingerprintError, match="a network of another architecture"):
        Battery.load(tmp_path / "sets", make(**kwargs), "lora")


def test_bad_input_changes_nothing() -> None:
    model = make()
    with pytest.raises(ValueError, match=r"adapter must be one of \('gates', 'head', 'biases', 'lora'\), got 'ia3'"):
        Battery(model, "ia3")
    with pytest.raises(ValueError, match="network has no 'biases' to keep: ActorCriticPolicy"):
        Battery(make_plain(), "biases")
    with pytest.raises(ValueError, match="network has no 'head' to keep: Linear"):
        Battery(nn.Linear(2, 2), "head")
    with pytest.raises(ValueError, match=r"network has no 'lora' to keep: .*lora_rank"):
        Battery(nn.Linear(2, 2), "lora")
    battery = filled(model, "head")
    before = state(model.policy)
    with pytest.raises(ValueError, match=r"k of 'a' must have shape \(17,\), got \(6,\)"):
        battery.add("a", torch.zeros(6))
    with pytest.raises(ValueError, match="k of 'a' must be finite"):
        battery.add("a", torch.full((17,), np.inf))
    assert list(battery) == ["start"]
    assert not changed(model.policy, before)


def test_modules_of_any_kind() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    put_lora(net, ["0", "3"], 2, 4.0)
    shake(net)
    x, numbers = torch.randn(2, 1, 5, 5), {"head": 36 * 3 + 3, "biases": 4 + 3, "lora": 2 * (9 + 4 + 36 + 3)}
    assert {name: size.numbers for name, size in describe_adapters(net).items()} == numbers
    for adapter in numbers:
        battery, before = filled(net, adapter, "a"), net(x)
        battery.apply("a")
        assert not torch.equal(net(x), before)
        battery.apply("start")
        assert torch.equal(net(x), before)


def test_the_report_counts_what_is_kept(tmp_path: Path) -> None:
    model = make()
    found = describe_adapters(model)
    assert {name: size.numbers for name, size in found.items()} == NUMBERS
    whole = sum(NUMBERS[name] for name in ("gates", "lora")) + (3 * 16 + 16) + (16 * 16 + 16) + 17
    for name, size in found.items():
        assert size.n_bytes == 4 * NUMBERS[name]
        assert size.share == NUMBERS[name] / whole
        filled(model, name).save(tmp_path / name)
        (kept,) = safetensors.torch.load_file(tmp_path / name).values()
        assert kept.numel() * kept.element_size() == size.n_bytes
    assert "none needed" in found["head"].folding
    assert "lora" not in describe_adapters(model.policy.action_net.get_base_layer())
    with pytest.raises(TypeError, match="network must be"):
        describe_adapters("policy")  # type: ignore[arg-type]


def test_files_of_gates_say_nothing_new(tmp_path: Path) -> None:
    """Earlier versions and the runtime read them."""
    model = make()
    filled(model, "gates").save(tmp_path / "k")
    filled(model, "biases").save(tmp_path / "b")
    heads = []
    for name in ("k", "b"):
        content = (tmp_path / name).read_bytes()
        heads.append(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"])
    assert heads[0].keys() == {"format", "metadata", "digest", "architecture", "weights"}
    assert heads[1].keys() == heads[0].keys() | {"adapter"}


def test_a_parameter_in_two_places_is_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].bias = network[0].bias
    with pytest.raises(ValueError, match="must have a parameter in one place alone to keep 'biases'"):
        Battery(network, "biases")


def test_a_fleet_takes_no_low_rank_adapters() -> None:
    model = make("PPO")
    with pytest.raises(ValueError, match="model must be without low-rank adapters"):
        fleet(model, model.env)
