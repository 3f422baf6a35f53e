"""The network, and its training on the source, which all methods of a seed begin from."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from benchmarks.questions.vision.sets import FIT, Labelled, find_set, part_of
from nb_evaluation.kept import kept, kept_name
from nb_evaluation.runs.provenance import versions

CHANNELS, HIDDEN = (16, 32, 64), 256

BATCH, PEAK = 128, 5e-3
"""Pictures of a batch, and the highest learning rate of the one cycle (Smith and Topin 2018); by usage, not tuned."""


def build(channels: int, side: int, classes: int) -> nn.Sequential:
    """Three convolutions of stride 2 with batch normalization, a hidden layer, and the last one.

    Args:
        channels: Channels of a picture.
        side: Pixels of a side.
        classes: Number of classes.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (before, after) in enumerate(zip((channels, *CHANNELS), CHANNELS, strict=False), 1):
        layers[f"conv{i}"] = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        layers[f"norm{i}"], layers[f"relu{i}"] = nn.BatchNorm2d(after), nn.ReLU()
        side = -(-side // 2)
    layers["flat"] = nn.Flatten()
    layers["hidden"], layers["relu"] = nn.Linear(CHANNELS[-1] * side * side, HIDDEN), nn.ReLU()
    layers["head"] = nn.Linear(HIDDEN, classes)
    return nn.Sequential(layers)


@lru_cache(maxsize=1)
def source(images: str, classes: int, seed: int, epochs: int) -> nn.Sequential:
    """The network of the source, in `eval()`; trained once on a machine, by whoever comes first.

    Args:
        images: Digest of the set.
        classes: Number of its classes.
        seed: Seed of the network's weights and of the order of the pictures.
        epochs: Passes over the source's pictures.
    """
    try:
        from safetensors.torch import load, save
    except ImportError as error:
        raise ImportError('this needs safetensors: run `pip install "neural-battery[bench]"`') from error

    train = part_of(find_set(images).train, FIT)
    torch.manual_seed(seed)
    network = build(train.pictures.shape[1], train.pictures.shape[2], classes)

    def trained() -> bytes:
        fit(network, train, epochs)
        return save(network.state_dict())

    name = kept_name("vision-source", "ten of twelve", images, seed, epochs, BATCH, PEAK, CHANNELS, HIDDEN, versions())
    network.load_state_dict(load(kept(name, trained)))
    return network.eval()


def fit(network: nn.Module, train: Labelled, epochs: int) -> None:
    """Train with Adam, the rate in one cycle; torch's random numbers decide the order."""
    pictures, labels = torch.from_numpy(train.pictures), torch.from_numpy(train.labels)
    whole = max(1, len(labels) // BATCH)
    optimizer = torch.optim.Adam(network.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=epochs * whole)
    network.train()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(labels)), BATCH)[:whole]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(pictures[rows].float() / 255.0), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
            cycle.step()


@torch.no_grad()
def accuracy(network: nn.Module, pictures: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of the pictures, `(n, channels, height, width)` from 0 to 1, whose class is found, in per cent."""
    found = torch.cat([network(part).argmax(1) for part in torch.split(pictures, 1000)])
    return float(np.round(100.0 * (found == labels).float().mean().item(), 4))
