"""A network of the source that is adapted to each shift, with few pictures of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import update_bn

from benchmarks.questions.vision.methods import BATCH, METHODS, STEPS, Method
from benchmarks.questions.vision.network import accuracy, source
from benchmarks.questions.vision.parts import PARTS
from benchmarks.questions.vision.sets import FEW, SETS, TRIALS, Labelled, Pictures, find_set, part_of
from benchmarks.questions.vision.shifts import NAMES, shifted, unit


class Target(NamedTuple):
    """Pictures of a shift, with values from 0 to 1, and their classes: to adapt with, in their order, and to test."""

    few: torch.Tensor
    labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor


class Adapted(NamedTuple):
    """What a method reaches; see `VisionResult`."""

    shifts: list[str]
    accuracy: list[list[float]]
    clean: float
    numbers: int
    total: int


def adapted(spec: Any, rate: float | None = None, shifts: Sequence[str] = ()) -> Adapted:
    """Adapt to shifts with all numbers of pictures, which the source has not seen.

    Args:
        spec: Specification.
        rate: Learning rate that is tried, on pictures that no report uses; None for the method's own.
        shifts: Names of the shifts; empty for all of the set.
    """
    pictures, method = find_set(spec.images), METHODS[spec.method]
    method = method if rate is None else replace(method, rate=rate)
    names = list(shifts or shifts_of(spec.set))
    network = source(spec.images, SETS[spec.set].classes, spec.seed, spec.epochs)
    torch.manual_seed(spec.seed)
    start = PARTS[method.part](network, **method.options).eval() if method.part else network
    shown = targets(pictures, spec, names, trial=rate is not None)
    found = [_each_size(start, method, target, spec) for target in shown]
    clean = pictures.test
    known = accuracy(network, torch.from_numpy(unit(clean.pictures)), torch.from_numpy(clean.labels))
    total = sum(parameter.numel() for parameter in network.parameters())
    return Adapted(names, found, known, numbers(start, method), total)


def _each_size(start: nn.Module, method: Method, target: Target, spec: Any) -> list[float]:
    found = []
    for size in spec.sizes:
        torch.manual_seed(spec.seed)  # whatever was drawn for the shifts before
        made = adapt(copy.deepcopy(start), method, target.few[:size], target.labels[:size])
        found.append(accuracy(made, target.test, target.test_labels))
    return found


def adapt(network: nn.Module, method: Method, pictures: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Change the numbers of a method, in place; the network stays in `eval()`, with statistics that stand still."""
    if method.statistics:
        update_bn([pictures], network)
    if not method.part:
        return network
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, method.rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for rows in batches(len(labels)):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(pictures[rows]), labels[rows]))
        optimizer.step()
        cosine.step()
    return network


def batches(size: int) -> Iterator[torch.Tensor]:
    """Rows of each step: all of the pictures, or `BATCH` of them, each as often as any other."""
    waiting: list[torch.Tensor] = []
    for _ in range(STEPS):
        waiting = waiting or [*torch.split(torch.randperm(size), BATCH)]
        yield waiting.pop()


def numbers(network: nn.Module, method: Method) -> int:
    """How many numbers are kept for a shift.

    Means and variances that stand still are part of the scales and shifts behind them, so that batch normalization
    needs two numbers a channel where both are new.
    """
    counted = 0
    for module in network.modules():
        trained = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad) if method.part else 0
        counted += 2 * module.num_features if isinstance(module, nn.BatchNorm2d) and method.statistics else trained
    return counted


def shifts_of(name: str) -> tuple[str, ...]:
    """Names of the shifts of a set."""
    return ("other writers",) if name == "digits" else NAMES


def targets(pictures: Pictures, spec: Any, names: Sequence[str], *, trial: bool = False) -> Iterator[Target]:
    """The pictures of each shift; the same ones for all shifts and methods of a seed, and others for a trial."""
    rng = np.random.default_rng(spec.seed)
    if pictures.target is None:
        few = part_of(pictures.train, FEW)
        test = part_of(pictures.train, TRIALS) if trial else pictures.test
    else:  # every second one, for they stand in the order of their writers
        few, test = (Labelled(pictures.target.pictures[i::2], pictures.target.labels[i::2]) for i in (0, 1))
    few, test = draw(few, max(spec.sizes), rng), draw(test, spec.tested, rng)
    for name in names:
        looks = [
            unit(each.pictures) if pictures.target is not None else shifted(each.pictures, name, 2 * spec.seed + i)
            for i, each in enumerate((few, test))
        ]
        first, second = map(torch.from_numpy, looks)
        yield Target(first, torch.from_numpy(few.labels), second, torch.from_numpy(test.labels))


def draw(pictures: Labelled, size: int, rng: np.random.Generator) -> Labelled:
    """Pictures of which the first n hold each class as often as any other, give or take one, for every n.

    Args:
        pictures: Pictures to draw from.
        size: Number of pictures; all are drawn where there are no more.
        rng: Source of the order.
    """
    rows = in_turn(pictures.labels, rng)[:size]
    return Labelled(pictures.pictures[rows], pictures.labels[rows])


def in_turn(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """All rows in a random order in which the classes take turns."""
    order = rng.permutation(len(labels))
    classes = rng.permutation(labels.max() + 1)[labels[order]]
    by_class = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    turn = np.empty(len(labels), np.int64)
    turn[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(order[np.lexsort((classes, turn))], np.int64)
