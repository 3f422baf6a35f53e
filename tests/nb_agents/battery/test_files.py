"""k-sets in files: everything comes back, and a file that is not whole or not ours is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from nb_agents.battery.battery import Battery
from tests.nb_agents.battery.models import Residual, assert_unchanged, observations, outputs, shaken, weights


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
