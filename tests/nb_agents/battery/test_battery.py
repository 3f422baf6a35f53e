"""k-sets: that the right one acts, on the right network, and nothing else changes."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.envs import FakeImageEnv
from torch import nn

from nb_agents import (
    KGate,
    KGatedCnnPolicy,
    KGatedDQNPolicy,
    KGatedPolicy,
    KGatedSACPolicy,
    KGatedTD3Policy,
    insert_gates,
)
from nb_agents.battery.battery import Battery, FingerprintError
from nb_agents.inference.distill import make_student
from tests.nb_agents.inference.test_conditioned import make_model

ON_POLICY = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
OFF_POLICY = {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "train_freq": 4}
MODELS: dict[str, Any] = {
    "PPO": (PPO, KGatedPolicy, "Pendulum-v1", ON_POLICY),
    "SAC": (SAC, KGatedSACPolicy, "Pendulum-v1", OFF_POLICY),
    "TD3": (TD3, KGatedTD3Policy, "Pendulum-v1", OFF_POLICY),
    "DQN": (DQN, KGatedDQNPolicy, "CartPole-v1", OFF_POLICY),
}


def make(name: str = "PPO", **policy_kwargs: Any) -> Any:
    cls, policy, env, settings = MODELS[name]
    return cls(policy, env, policy_kwargs={"net_arch": [32, 32]} | policy_kwargs, seed=0, device="cpu", **settings)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return make(request.param)


def observations(model: BaseAlgorithm, n: int = 16) -> np.ndarray:
    space = model.observation_space
    limit = 3.0 if space.dtype == np.float32 else 255.0  # of images or of states, some of which are unbounded
    low, high = space.low.astype(float).clip(-limit), space.high.astype(float).clip(max=limit)
    return np.random.default_rng(0).uniform(low, high, (n, *low.shape)).astype(space.dtype)


def outputs(model: Any, observation: np.ndarray) -> np.ndarray:
    """Actions of the deterministic policy; of DQN, whose actions say little, the values."""
    if isinstance(model, DQN):
        with torch.no_grad():
            return model.q_net(torch.as_tensor(observation)).numpy()
    return model.predict(observation, deterministic=True)[0]


def shaken(model: Any, *names: str) -> Battery:
    """A battery of random k-sets, the network's own being "start"."""
    network = model.policy if isinstance(model, BaseAlgorithm) else model
    battery = Battery(network)
    battery.capture("start")
    generator = torch.Generator().manual_seed(0)
    for name in names:
        battery.add(name, torch.randn(battery.n_k, generator=generator) * 2)
    return battery


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(module: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


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


class Residual(nn.Module):
    """Gates somewhere in a module of no particular kind, with running statistics and images."""

    def __init__(self, block_size: int | None = 4, slope: float = 0.01) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.channels = KGate(6, block_size=block_size, spatial_dims=2, activation=nn.LeakyReLU(slope))
        self.units = KGate(6, block_size=block_size, activation=nn.PReLU())
        self.out = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.channels(self.norm(self.convolution(x))).flatten(2).mean(-1)
        return self.out(h + self.units(h))


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


def test_a_file_brings_everything_back(model: Any, tmp_path: Path) -> None:
    model.learn(32)
    battery = shaken(model, "b", "a")
    battery.capture("noted", {"task": {"A": 1.8}, "seeds": [1, 2], "größe": None})
    battery.save(tmp_path / "k.safetensors")
    model.save(tmp_path / "model")
    later = type(model).load(tmp_path / "model", device="cpu")
    loaded = Battery.load(tmp_path / "k.safetensors", later)
    assert list(loaded) == ["start", "b", "a", "noted"]
    assert loaded.metadata("noted") == {"task": {"A": 1.8}, "seeds": [1, 2], "größe": None}
    observation = observations(model)
    for name in battery:
        assert torch.equal(loaded[name], battery[name])
        loaded.apply(name)
        battery.apply(name)
        assert np.array_equal(outputs(later, observation), outputs(model, observation))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "no temporary files"


def test_the_critic_the_spread_and_the_difficulty_may_change(model: Any) -> None:
    battery = shaken(model, "a")
    before = battery.verify()
    model.policy.task_difficulty = 1.0
    model.policy.set_training_mode(True)
    with torch.no_grad():
        for name, parameter in model.policy.named_parameters():
            if name.startswith(("critic", "value_net", "mlp_extractor.value_net", "log_std", "actor.log_std")):
                parameter.add_(1.0)
    battery.apply("a")
    assert battery.verify() == before


OPTIMIZERS = {
    "fused": lambda p: torch.optim.Adam(p, fused=True),  # does not count its changes
    "foreach": lambda p: torch.optim.Adam(p, foreach=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
}


@pytest.mark.parametrize("how", [*OPTIMIZERS, "data", "load", "statistics", "replaced"])
def test_other_weights_are_noticed(how: str, tmp_path: Path) -> None:
    net = Residual().eval()
    battery = shaken(net, "a")
    battery.save(tmp_path / "k")
    battery.apply("a")
    x = torch.randn(4, 1, 5, 5)
    if how in OPTIMIZERS:
        net(x).square().sum().backward()
        OPTIMIZERS[how](net.parameters()).step()
    elif how == "data":
        for _ in range(2):  # twice: memory that was given back may be handed out again
            net.out.weight.data = net.out.weight.data + 1
    elif how == "load":
        net.load_state_dict(Residual().state_dict())
    elif how == "statistics":
        net.train()(x)
    else:
        net.out.weight = nn.Parameter(net.out.weight.detach() + 1)
    before = weights(net)
    for refused in (
        lambda: battery.apply("start"),
        lambda: battery.capture("b"),
        lambda: battery.interpolate("a", "start", 0.5, "b"),
        lambda: battery.verify(),
        lambda: battery.save(tmp_path / "other"),
        lambda: battery.per_row(["a"]).__enter__(),
        lambda: Battery.load(tmp_path / "k", net),
    ):
        with pytest.raises(FingerprintError, match="other weights"):
            refused()
    assert_unchanged(net, before)
    assert list(battery) == ["start", "a"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_changed_weight_among_many_is_noticed(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(128, 128), KGate(128), nn.Linear(128, 1)).to(dtype)
    battery = shaken(net, "a")
    net[0].weight.data[-1, -1] += 1.0  # as by a fused optimizer, PyTorch does not count it
    with pytest.raises(FingerprintError, match="other weights"):
        battery.apply("a")


def test_equal_weights_are_no_other_weights() -> None:
    net = Residual()
    battery = shaken(net, "a")
    net.load_state_dict(copy.deepcopy(net.state_dict()))
    net.out.weight.data = net.out.weight.data.clone()
    before = battery.verify()
    battery.apply("a")
    assert battery.verify() == before
    with torch.no_grad():
        net.out.weight.add_(1)
    battery.remove("a")
    battery.remove("start")
    battery.capture("new")  # an empty battery takes the network as it is
    battery.apply("new")
    assert battery.verify() != before


@pytest.mark.parametrize(
    "other",
    [
        lambda: make(block_size=8),
        lambda: make(block_weight=0.5),
        lambda: make(gate_max=1.0),
        lambda: make(gate_max=None),
        lambda: make(activation_fn=nn.ReLU),
        lambda: make(net_arch=[32, 31]),
        lambda: make("SAC"),
        Residual,
    ],
)
def test_another_architecture_is_noticed(other: Any, tmp_path: Path) -> None:
    shaken(make(), "a").save(tmp_path / "k")
    network = other()
    module = network.policy if isinstance(network, BaseAlgorithm) else network
    before = weights(module)
    with pytest.raises(FingerprintError, match="another architecture"):
        Battery.load(tmp_path / "k", network)
    assert_unchanged(module, before)


def test_arguments_of_activations_are_architecture(tmp_path: Path) -> None:
    net, other = Residual(slope=0.01), Residual(slope=0.02)
    other.load_state_dict(net.state_dict())
    shaken(net, "a").save(tmp_path / "k")
    with pytest.raises(FingerprintError, match="another architecture"):
        Battery.load(tmp_path / "k", other)


def _tampered(change: str, content: bytes) -> bytes:
    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    header["format"], digest = "nb_agents.Battery 1", header.pop("digest")  # the former has none that would tell first
    if change == "no digest":
        header["format"] = "nb_agents.Battery 2"
    if change == "two formats":
        header["digest"], header["format"] = digest, "nb_agents.Battery 2"
    if change == "truncated":
        return content[:-10]
    if change == "empty":
        return b""
    if change == "foreign":
        return safetensors.torch.save({"weight": torch.zeros(3)})
    if change == "pickle":
        return b"\x80\x04cos\nsystem\n(S'exit 1'\ntR."
    if change == "not a number":
        tensors["a"][0] = torch.nan
    if change == "longer":
        tensors["a"] = torch.zeros(len(tensors["a"]) + 1)
    if change == "integers":
        tensors["a"] = tensors["a"].long()
    if change == "wide":
        tensors["a"] = torch.full((6,), 1e300, dtype=torch.float64)
    if change == "narrow":
        tensors["a"] = torch.full((6,), torch.nan).to(torch.float8_e4m3fn)
    if change == "matrix":
        tensors["a"] = tensors["a"].reshape(2, 3)
    if change == "notes are a list":
        header["metadata"] = '["start", "a"]'
    if change == "a note is text":
        header["metadata"] = '{"start": {}, "a": "A = 1.8"}'
    if change == "a note is not finite":
        header["metadata"] = '{"start": {}, "a": {"A": 1e999}}'
    if change == "deep":
        header["metadata"] = '{"start": {}, "a": ' + "[" * 100_000
    if change == "other names":
        tensors["b"] = tensors.pop("a")
    if change == "no JSON":
        header["metadata"] = "{"
    if change == "no fingerprint":
        del header["weights"]
    return safetensors.torch.save(tensors, header)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("no digest", ValueError, "it has no digest"),
        ("two formats", ValueError, "its bytes do not agree with its digest"),
        ("truncated", ValueError, "not a whole file of k-sets"),
        ("wide", ValueError, r"must be finite in torch\.float32"),
        ("narrow", ValueError, "not a whole file of k-sets"),
        ("matrix", ValueError, r"must have shape \(6,\), got \(2, 3\)"),
        ("notes are a list", ValueError, "names do not agree"),
        ("a note is text", ValueError, "metadata must be a mapping"),
        ("a note is not finite", ValueError, "metadata must be what JSON can hold"),
        ("deep", ValueError, "not a whole file of k-sets"),
        ("empty", ValueError, "not a whole file of k-sets"),
        ("foreign", ValueError, "its format is None"),
        ("pickle", ValueError, "not a whole file of k-sets"),
        ("not a number", ValueError, "k of 'a' must be finite"),
        ("longer", ValueError, r"k of 'a' must have shape \(6,\), got \(7,\)"),
        ("integers", ValueError, "k of 'a' must be a floating-point tensor"),
        ("other names", ValueError, "names do not agree"),
        ("no JSON", ValueError, "not a whole file of k-sets"),
        ("no fingerprint", ValueError, "not a whole file of k-sets"),
    ],
)
def test_bad_files(change: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    net = Residual()
    shaken(net, "a").save(tmp_path / "k")
    (tmp_path / "bad").write_bytes(_tampered(change, (tmp_path / "k").read_bytes()))
    before = weights(net)
    with pytest.raises(error, match=message):
        Battery.load(tmp_path / "bad", net)
    assert_unchanged(net, before)
    with pytest.raises(FileNotFoundError):
        Battery.load(tmp_path / "none", net)


def test_a_file_of_the_former_format_is_read(tmp_path: Path) -> None:
    net = Residual()
    battery = shaken(net, "a")
    battery.save(tmp_path / "k")
    (tmp_path / "k").write_bytes(_tampered("nothing", (tmp_path / "k").read_bytes()))
    loaded = Battery.load(tmp_path / "k", net)
    assert list(loaded) == list(battery)
    assert all(torch.equal(loaded[name], battery[name]) for name in battery)


def test_any_flipped_bit_and_any_missing_end_is_noticed(tmp_path: Path) -> None:
    net = Residual()
    battery = shaken(net, "a")
    battery.add("b", battery["a"], {"task": '"digest":"' + 64 * "0" + '"'})
    battery.save(tmp_path / "k")
    whole = (tmp_path / "k").read_bytes()
    assert Battery.load(tmp_path / "k", net).metadata("b") == battery.metadata("b")
    damaged = [whole[:n] for n in range(0, len(whole), 29)] + [whole + b"\0"]
    for i in range(0, 8 * len(whole), 53):
        flipped = bytearray(whole)
        flipped[i // 8] ^= 1 << i % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / "k").write_bytes(content)
        with pytest.raises(ValueError, match=r"k' is not a whole file of k-sets") as caught:
            Battery.load(tmp_path / "k", net)
        assert type(caught.value) is ValueError  # not that it belongs to another network


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


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    battery = shaken(Residual(), "a")
    battery.save(tmp_path / "k")
    content = (tmp_path / "k").read_bytes()
    battery.remove("a")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("nb_evaluation.files.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        battery.save(tmp_path / "k")
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
    assert (tmp_path / "k").read_bytes() == content


def test_without_safetensors_everything_but_files_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    battery = shaken(Residual(), "a")
    battery.apply("a")
    with pytest.raises(ImportError, match=r'pip install "neural-battery\[battery\]"'):
        battery.save(tmp_path / "k")


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
