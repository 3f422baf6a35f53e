"""Policies and trainers in files: they go on to the last bit, and what is damaged or hostile is refused."""

from __future__ import annotations

import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

from nb_agents._tensor_file import write_tensors
from nb_agents.recipe.trainer import NeuralBatteryPolicy, NeuralBatteryTrainer
from tests.nb_agents.recipe.labels import batch, equal, parameters


def test_a_loaded_trainer_goes_on_to_the_last_bit(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"updates_per_step": 2, "batch_size": 8, "learn_k_target": True, "net_arch": (16, 8)}
    trainer = NeuralBatteryTrainer(2, 1, seed=0, **settings)
    trainer.train_step(**batch())
    trainer.policy.train_only("gates")
    trainer.train_step(**batch())
    trainer.save(tmp_path / "trainer.pt")
    loaded = NeuralBatteryTrainer.load(tmp_path / "trainer.pt")
    for each in (trainer, loaded):
        each.train_step(**batch(seed=1), task_difficulty=0.1)
    assert equal(parameters(trainer), parameters(loaded))
    assert loaded.policy.trains == "gates"


def test_a_loaded_policy_acts_alike(tmp_path: Any) -> None:
    policy = NeuralBatteryPolicy(3, 2, False, max_torque=0.5, clamp_gate=True)
    policy.save(tmp_path / "policy.pt")
    x = torch.randn(4, 3)
    assert NeuralBatteryPolicy.load(tmp_path / "policy.pt")(x).equal(policy(x))


def test_numpy_numbers_as_arguments_survive_the_file(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"k_init": np.float64(0.5), "block_weight": np.float32(0.5), "block_size": np.int64(8)}
    NeuralBatteryPolicy(2, 1, **settings).save(tmp_path / "policy.pt")
    assert NeuralBatteryPolicy.load(tmp_path / "policy.pt").arguments.items() >= settings.items()


@pytest.mark.parametrize("kind", [NeuralBatteryPolicy, NeuralBatteryTrainer])
def test_a_flipped_bit_and_a_missing_end_are_noticed(kind: Any, tmp_path: Any) -> None:
    kind(2, 1, net_arch=(4,), block_size=2).save(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    kind.load(tmp_path / "file")
    rng = np.random.default_rng(0)
    damaged = [whole[: rng.integers(len(whole))] for _ in range(20)] + [whole + b"\0", whole[1:], whole[:-72]]
    for position in (*rng.integers(len(whole), size=40), *range(len(whole) - 72, len(whole), 7)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="is not a whole file of 'nb_agents"):
            kind.load(tmp_path / "file")


@pytest.mark.parametrize(
    "claim",
    [
        {"net_arch": [30_000, 30_000]},
        {"net_arch": [3_000] * 3_000},
        {"state_dim": 10**9},
        {"action_dim": 10**9},
        {"net_arch": [10_000], "block_size": 1},
    ],
)
def test_a_small_file_takes_little_memory(claim: dict[str, Any], tmp_path: Any, monkeypatch: Any) -> None:
    NeuralBatteryPolicy(2, 1, net_arch=(4,)).save(tmp_path / "file")
    content = torch.load(tmp_path / "file", weights_only=True)
    content["arguments"] |= claim
    del content["format"]
    write_tensors(tmp_path / "file", "nb_agents.NeuralBatteryPolicy", **content)
    monkeypatch.setattr(NeuralBatteryPolicy, "__init__", lambda *_, **__: pytest.fail("it is being built"))
    with pytest.raises(ValueError, match=r"does not fit into its \d+ bytes"):
        NeuralBatteryPolicy.load(tmp_path / "file")


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Any, monkeypatch: Any) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10_000))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it is being read"))
    with pytest.raises(ValueError, match=r"its \d+ bytes would unpack to 10000"):
        NeuralBatteryPolicy.load(tmp_path / "file")


class Payload:
    def __reduce__(self) -> Any:
        return pytest.fail, ("the file ran code",)


@pytest.mark.parametrize("kind", [NeuralBatteryPolicy, NeuralBatteryTrainer])
def test_files_that_are_damaged_of_another_kind_or_hostile_are_refused(kind: Any, tmp_path: Any) -> None:
    path, whole_file = tmp_path / "file.pt", tmp_path / "whole.pt"
    made = kind(2, 1)
    if kind is NeuralBatteryTrainer:
        made.train_step(**batch())
    made.save(path)
    made.save(whole_file)
    whole = path.read_bytes()
    other = NeuralBatteryTrainer if kind is NeuralBatteryPolicy else NeuralBatteryPolicy
    with pytest.raises(ValueError, match="format"):
        other.load(path)
    for content in (whole[: len(whole) // 2], b"", b"text", pickle.dumps(Payload())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"file\.pt"):
            kind.load(path)
    torch.save({"format": "x", "payload": Payload()}, path)
    with pytest.raises(ValueError, match=r"file\.pt.*: it holds something other than tensors"):
        kind.load(path)
    path.write_bytes(whole)
    # Of the first format, which has no digest that would tell first.
    content = torch.load(path, weights_only=True) | {"format": f"nb_agents.{kind.__name__} 1"}
    arguments = content["arguments"]
    changes: list[dict[str, Any]] = [
        {"policy": {}},
        {"arguments": {}},
        {"arguments": arguments | {"lr_decay": 1}},
        {"arguments": arguments | {"net_arch": [8]}},
        {"arguments": arguments | {"max_torque": -1.0}},
        {"arguments": arguments | {"k_init": 1e300}},
        {"arguments": arguments | {"state_dim": "2"}},
        {"arguments": arguments | {"net_arch": None}},
        {"arguments": None},
        {"policy": {name: tensor.tolist() for name, tensor in content["policy"].items()}},
        {"policy": {name: tensor.new_zeros(1).expand_as(tensor)[:1] for name, tensor in content["policy"].items()}},
    ]
    if kind is NeuralBatteryTrainer:
        moments = {i: {**s, "exp_avg": torch.zeros(1)} for i, s in content["optimizer"]["state"].items()}
        changes += [{"rng": {}}, {"rng": {"state": torch.zeros(3)}}, {"regularizer": {"target": torch.zeros(2)}}]
        changes += [{"optimizer": content["optimizer"] | {"state": moments}}] if moments else []
    for change in changes:
        torch.save(content | change, path)
        with pytest.raises(ValueError, match=r"file\.pt"):
            kind.load(path)
    torch.save(content, path)
    old, new = (each.policy if kind is NeuralBatteryTrainer else each for each in map(kind.load, (path, whole_file)))
    assert equal(list(old.parameters()), list(new.parameters()))
    with pytest.raises(FileNotFoundError):
        kind.load(tmp_path / "nothing.pt")
