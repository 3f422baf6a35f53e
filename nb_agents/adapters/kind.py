"""What a kind of adapter has to say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import nn


class Adapter(ABC):
    """One kind of adapter: which of a network's numbers it consists of, and what becomes of them in a plain network.

    Attributes:
        name: The name by which `train_only` and `Battery` know it.
        folding: What becomes of it in a network without adapters.
        why_no_line: Why a straight line between two sets of numbers is none between what they do; empty where it is.
        advice: What gives a network this adapter, for errors.
    """

    name: ClassVar[str]
    folding: ClassVar[str]
    why_no_line: ClassVar[str] = ""
    advice: ClassVar[str]

    @abstractmethod
    def parameters(self, network: Any) -> dict[str, nn.Parameter]:
        """Its numbers, by their paths in the network and in the order of the modules; none where there are none.

        Args:
            network: A policy, of which it is the actor's, or any other module.

        Raises:
            ValueError: If the network has it in a form that cannot be kept or trained by itself.
        """

    def trained(self, network: Any) -> list[nn.Parameter]:
        """What `train_only` trains: its numbers, and what computes them."""
        return list(self.parameters(network).values())

    def effects(self, network: Any, numbers: Mapping[str, torch.Tensor]) -> Iterator[torch.Tensor]:
        """What a set of numbers does: equal for sets that make the same network of ``network``.

        Args:
            network: A network with this adapter.
            numbers: Tensors in the place of `parameters`.
        """
        yield from numbers.values()

    def shape(self, network: Any) -> list[str]:
        """What a set of numbers has to fit besides the network's modules and weights, for a fingerprint."""
        parameters = self.parameters(network).items()
        return [f"{self.name} {path}: {each.dtype} {tuple(each.shape)}" for path, each in parameters]
