"""Vision: files, shifts, what trains, and runs from the files to the verdict, on pictures that are made here."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.questions.vision import adapting, network, sets, shifts
from benchmarks.questions.vision.idx import read_idx
from benchmarks.questions.vision.methods import METHODS, STEPS
from benchmarks.questions.vision.parts import PARTS
from benchmarks.questions.vision.question import Vision, VisionResult, VisionRun, VisionSpec
from benchmarks.questions.vision.tables import CHOSEN, vision_answer, vision_tables
from nb_evaluation import kept
from tests.benchmarks.tools import parse

SIDE = 12


def idx(values: np.ndarray) -> bytes:
    """An array of bytes in the IDX format."""
    head = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(head + values.astype(np.uint8).tobytes(), mtime=0)


def bars(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with a bright row whose place is the class, `(n, SIDE, SIDE)`, and the classes."""
    labels = np.arange(n) % 10
    pictures = rng.integers(0, 60, (n, SIDE, SIDE))
    pictures[np.arange(n), labels + 1] = 220
    return pictures, labels


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files as Debian's package has them, and an empty place for what is kept."""
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    for cached in (sets.find_set, network.source):
        cached.cache_clear()
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "fashion-mnist"
    folder.mkdir(parents=True)
    for split, n in (("train", 1280), ("t10k", 200)):
        pictures, labels = bars(n, rng)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(idx(pictures))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return folder.parent


def spec_of(folder: Path, **changes: Any) -> VisionSpec:
    given = {"method": "nb-k", "seed": 3, "set": "fashion", "sizes": (10, 70), "tested": 60, "epochs": 2} | changes
    return VisionSpec(images=sets.read_set("fashion", folder), **given)


def test_the_files_hold_what_was_written(fashion: Path) -> None:
    digest = sets.read_set("fashion", fashion)
    found = sets.find_set(digest)
    pictures, labels = bars(1280, np.random.default_rng(0))
    np.testing.assert_array_equal(found.train.pictures, pictures[:, None])
    np.testing.assert_array_equal(found.train.labels, labels)
    assert found.test.pictures.shape == (200, 1, SIDE, SIDE)
    assert found.target is None
    assert sets.read_set("fashion", fashion) == digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "is damaged: Not a gzipped file"),
        (idx(np.zeros((4, 2, 2)))[:-9], "is damaged: "),
        (gzip.compress(b""), "must begin with 00000803, bytes in 3 dimensions; got nothing and 0 bytes"),
        (idx(np.zeros(4)), "must begin with 00000803, bytes in 3 dimensions; got 00000801"),
        (gzip.compress(gzip.decompress(idx(np.zeros((4, 2, 2)))) + b"x"), r"must hold 16 values, as its shape"),
    ],
    ids=["no gzip", "cut off", "empty", "another number of dimensions", "too long"],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "some.gz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"some\.gz {message}"):
        read_idx(tmp_path / "some.gz", 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(200, 10), r"t10k-images.* and t10k-labels.*: labels must be 0 to 9, got 10"),
        (np.zeros(199), "must hold as many pictures as labels; got 200 and 199"),
    ],
    ids=["out of range", "too few"],
)
def test_labels_that_do_not_fit_are_refused(fashion: Path, labels: np.ndarray, message: str) -> None:
    (fashion / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    with pytest.raises(ValueError, match=message):
        sets.read_set("fashion", fashion)


def test_a_missing_file_says_what_to_install_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["vision", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "train-images-idx3-ubyte.gz is missing: `apt install dataset-fashion-mnist`" in said
    assert not (tmp_path / "out").exists()


def test_pictures_that_this_machine_does_not_have_are_asked_for(fashion: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no pictures abc are kept here: start the command with --data"):
        sets.find_set("abc")


@pytest.mark.parametrize(
    "values", ["{}", '{"data": [2]}', f'{{"data": {[0.5] * 783}}}', f'{{"data": {[1.5] * 784}}}', "["]
)
def test_a_damaged_digit_is_named(tmp_path: Path, values: str) -> None:
    (tmp_path / "3.json").write_text(values)
    with pytest.raises(ValueError, match=r"3\.json is damaged"):
        sets.read_digit(tmp_path / "3.json")


def test_digits_are_read_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "3.json").write_text(f'{{"data": {[0.0, 0.2, 1.0, 0.0] * 392}}}')
    found = sets.read_digit(tmp_path / "3.json")
    assert found.shape == (2, 1, 28, 28)
    assert found[1, 0, 0, :4].tolist() == [0, 51, 255, 0]


def seen(name: str, pictures: np.ndarray, seed: int = 0) -> np.ndarray:
    return shifts.shifted(pictures, name, seed)


def some_pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 2, SIDE, SIDE)).astype(np.uint8)


def test_known_values_of_the_shifts() -> None:
    pictures = some_pictures()
    x = shifts.unit(pictures)
    np.testing.assert_array_equal(seen("inversion 3", pictures), np.float32(1.0) - x)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(shifts.inversion(shifts.inversion(x, 0.0, rng), 0.0, rng), x, atol=1e-7)
    moved = seen("translation 1", pictures)
    np.testing.assert_array_equal(moved[..., 2:, 2:], x[..., :-2, :-2])
    assert not moved[..., :2, :].any()
    assert not moved[..., :2].any()
    np.testing.assert_allclose(shifts.rotation(x, 90.0, rng), np.rot90(x, axes=(-2, -1)), atol=1e-6)
    faint = seen("contrast 1", pictures)
    np.testing.assert_allclose(faint.mean(axis=(1, 2, 3)), x.mean(axis=(1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(faint.std(axis=(1, 2, 3)), 0.5 * x.std(axis=(1, 2, 3)), atol=1e-6)
    flat = np.full((1, 1, 28, 28), 51, np.uint8)
    np.testing.assert_allclose(seen("blur 3", flat), 0.2, atol=1e-6)
    grey = np.full((50, 1, 28, 28), 127, np.uint8)
    assert abs(seen("noise 1", grey).std() - 0.1) < 0.002


def test_shifts_are_deterministic_and_grow() -> None:
    pictures = some_pictures()
    x = shifts.unit(pictures)
    for kind in shifts.SHIFTS:
        each = [seen(f"{kind} {severity}", pictures) for severity in (1, 2, 3)]
        assert all(one.dtype == np.float32 and one.shape == x.shape for one in each)
        assert all(0.0 <= one.min() <= one.max() <= 1.0 for one in each)
        np.testing.assert_array_equal(each[0], seen(f"{kind} 1", pictures))
        if kind != "rotation":  # of noise every angle changes as much
            far = [float(np.abs(one - x).mean()) for one in each]
            assert far == sorted(far), (kind, far)
    assert not np.array_equal(seen("noise 1", pictures, 0), seen("noise 1", pictures, 1))
    assert len(shifts.NAMES) == 18


@pytest.mark.parametrize("size", [1, 16, 64, 256])
def test_classes_take_turns(size: int) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 900)
    rows = adapting.in_turn(labels, np.random.default_rng(4))
    assert sorted(rows) == list(range(900))
    counts = np.bincount(labels[rows[:size]], minlength=10)
    assert counts.max() - counts.min() <= 1


def test_steps_see_every_picture_equally_often() -> None:
    torch.manual_seed(0)
    rows = torch.cat(list(adapting.batches(200)))  # 64, 64, 64 and 8 of them in turn
    counts = torch.bincount(rows, minlength=200)
    assert len(list(adapting.batches(16))) == STEPS
    assert counts.min() == counts.max() == STEPS // 4


def test_numbers_of_every_method_and_what_they_change() -> None:
    torch.manual_seed(0)
    plain = network.build(1, 28, 10).eval()
    units, head = (16, 32, 64, 256), 256 * 10 + 10
    norms = 2 * (16 + 32 + 64)
    total = sum(p.numel() for p in plain.parameters())
    lora = (9 + 16) + (9 * 16 + 32) + (9 * 32 + 64) + (1024 + 256) + (256 + 10)
    wanted = {
        "source": 0, "nb-k": 4, "nb-pro-k": 4 + sum(units) // 16, "nb-channel-k": 4 + sum(units),
        "nb-signed-k": 4 + sum(units), "nb-film-k": 2 * (4 + sum(units)), "biases": norms // 2 + 256 + 10,
        "bn-statistics": norms, "bn-affine": norms, "head": head, "bn-head": norms + head, "fine-tune": total,
        "lora-1": lora, "lora-4": 4 * lora,
    }  # fmt: skip
    assert wanted.keys() == METHODS.keys()
    assert wanted[CHOSEN] <= 0.01 * total
    x, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    for name, method in METHODS.items():
        if method.part == "lora":
            pytest.importorskip("peft")
        start = PARTS[method.part](plain, **method.options).eval() if method.part else plain
        assert adapting.numbers(start, method) == wanted[name], name
        assert torch.equal(start(x), plain(x)), name
        before = {key: value.clone() for key, value in start.state_dict().items()}
        made = adapting.adapt(start, method, x, labels) if method.part or method.statistics else start
        changed = {key for key, value in made.state_dict().items() if not torch.equal(value, before[key])}
        trained = {key for key, p in made.named_parameters() if p.requires_grad} if method.part else set()
        assert {key for key in changed if "running" not in key and "tracked" not in key} == trained, name
        assert any("running" in key for key in changed) == method.statistics, name
        plain = network.build(1, 28, 10).eval()


def test_a_run_is_a_pure_function_of_its_specification(fashion: Path) -> None:
    spec = spec_of(fashion, method="bn-head")
    result = Vision().execute(spec)
    run = VisionRun(spec, result, {}, None, 1.0, 1.0)
    run._check_all({})
    assert VisionRun.from_line(run.to_line(), "here").spec == spec
    network.source.cache_clear()  # kept on the disk
    torch.manual_seed(7)
    again = adapting.adapted(spec, shifts=["noise 2"])
    assert again.accuracy == [result.accuracy[shifts.NAMES.index("noise 2")]], "and no shift depends on those before"
    assert result.shifts == list(shifts.NAMES)
    assert np.shape(result.accuracy) == (18, 2)
    assert result.clean > 95.0
    plain = np.array(Vision().execute(spec_of(fashion, method="source")).accuracy)
    np.testing.assert_array_equal(plain[:, 0], plain[:, 1])
    assert np.mean(result.accuracy) > plain.mean() + 5.0
    assert "fashion: " in Vision().line(run)


def test_the_command_runs_and_resumes(fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["vision", "--data", str(fashion), "--seeds", "1", "--workers", "1", "--methods", "source", "bn-statistics"]
    assert main([*words, "--out", str(out)]) == 0
    assert {"job.json", "table.md", "vision_fashion.png"} <= {path.name for path in out.iterdir()}
    before = (out / "table.md").read_bytes()
    assert b"| `bn-statistics` |" in before
    assert main([*words, "--out", str(out)]) == 0
    assert (out / "table.md").read_bytes() == before


def made_up(method: str, seed: int, values: list[float], numbers: int = 900) -> VisionRun:
    spec = VisionSpec(method=method, seed=seed, set="fashion", images="abc", tested=100)
    accuracy = [[value, value + 1.0 + 0.01 * seed, value + 2.0] for value in values]
    result = VisionResult(["blur 1", "blur 2", "noise 1"], accuracy, 90.0, numbers, 100_000)
    return VisionRun(spec, result, {}, None, 1.0, 1.0)


@pytest.mark.parametrize(("lead", "numbers", "tone"), [(-1.5, 900, "better"), (-2.5, 900, "worse"), (0, 1001, "worse")])
def test_tables_and_verdict_are_made_of_the_runs(lead: float, numbers: int, tone: str) -> None:
    level = {CHOSEN: 70.0 + lead, "fine-tune": 70.0, "source": 50.0}
    runs = [
        made_up(name, seed, [value, value + 3.0, value - 9.0], 100_000 if name == "fine-tune" else numbers)
        for name, value in level.items()
        for seed in range(100, 105)
    ]
    accuracy, differences, corruptions = vision_tables(runs)
    row = dict(zip(accuracy.columns, accuracy.rows[-1], strict=True))
    assert row["method"] == "`fine-tune`"
    assert row["% of all"] == "100.00"
    assert row["bytes"] == "400,000"
    assert row["16 pictures"].startswith("68.0 [")
    assert row["worst shift, 64"] == "63.0 (noise 1)"
    ours = next(row for row in differences.rows if row[0] == f"`{CHOSEN}`")
    assert ours[2].startswith(f"{lead:+.1f} [".replace("-", "−"))
    assert corruptions.columns == ["method", "blur", "noise", "seeds"]
    assert corruptions.rows[-1][1].startswith("73.5 [")
    verdict = vision_answer(runs)
    assert verdict is not None
    assert verdict.tone == tone
    assert vision_answer(runs[-5:]) is None


def test_bad_options_are_refused(fashion: Path) -> None:
    for changes, message in (
        ({"method": "magic"}, "method must be one of source"),
        ({"set": "letters"}, "set must be one of fashion"),
        ({"sizes": ()}, "sizes must be at least 1, got 0"),
        ({"tested": 0}, "tested must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            VisionSpec(**{"method": "head", "seed": 1, "set": "fashion", "images": "a"} | changes)
    options = parse(Vision(), "--seeds", "2", "--methods", "head", "--data", str(fashion))
    assert [(spec.method, spec.seed) for spec in Vision().specifications(options)] == [("head", 100), ("head", 101)]
