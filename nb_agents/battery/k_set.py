"""k-sets by their names, and the parameters that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents._objects import uncompiled
from nb_agents.adapters.gates import acting_gates
from nb_agents.adapters.table import adapter_named
from nb_agents.battery.dynamics import Dynamics
from nb_agents.gates.gate import KGate
from nb_agents.inference.conditioned import conditioned_nets


@dataclass(frozen=True)
class KSet:
    """One k-set, or one set of another adapter's numbers.

    Attributes:
        k: The k's of all gates in order, or the other adapter's numbers, shape ``(n_k,)``.
        parts: Views of ``k``, one per gate or parameter, of the parameter's shape each.
        metadata: Notes beside it, anything that JSON can hold, as ``{"A": 1.8}``.
        dynamics: Model of the task that it is for, if there is one.
    """

    k: torch.Tensor
    parts: tuple[torch.Tensor, ...]
    metadata: dict[str, Any]
    dynamics: Dynamics | None = None


class NamedKSets:
    """The k-sets of a network by their names, in the order in which they came; see `Battery`."""

    def __init__(self, network: nn.Module | BaseAlgorithm, adapter: str = "gates") -> None:
        self._kind = adapter_named(adapter)
        module = uncompiled(network.policy if isinstance(network, BaseAlgorithm) else network)
        if not isinstance(module, nn.Module):
            raise TypeError(f"network must be a torch.nn.Module or an SB3 model, got {type(network).__name__}")
        self.network: nn.Module = module
        found = self._kind.parameters(module)
        paths = list(found)
        if adapter != "gates" and len({id(each) for each in found.values()}) < len(paths):
            raise ValueError(
                f"network must have a parameter in one place alone to keep {adapter!r}, got one of {paths} twice"
            )
        if not paths:
            what = "k-gates" if adapter == "gates" else f"{adapter!r} to keep"
            raise ValueError(f"network has no {what}: {type(module).__name__}; {self._kind.advice}")
        if any(conditioned_nets(module)):
            raise ValueError("network's k's are computed for each row of a batch: take the policy `at` a context")
        self.gates: dict[str, KGate] = dict(acting_gates(module)) if adapter == "gates" else {}
        # By module and name, for a parameter may be replaced by another.
        places = {path: path.rpartition(".")[::2] for path in paths}
        self._places = {path: (module.get_submodule(place), name) for path, (place, name) in places.items()}
        self._sets: dict[str, KSet] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sets)

    def __contains__(self, name: object) -> bool:
        return name in self._sets

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._find(name).k.clone()

    def __repr__(self) -> str:
        other = "" if self.adapter == "gates" else f"adapter={self.adapter!r}, "
        return f"Battery({type(self.network).__name__}, {other}n_k={self.n_k}, names={list(self)})"

    @property
    def adapter(self) -> str:
        """The kind of what is kept: "gates", "head", "biases" or "lora"."""
        return self._kind.name

    @property
    def n_k(self) -> int:
        """Numbers in a k-set, or in a set of another adapter."""
        return sum(parameter.numel() for parameter in self._parameters())

    def _parameters(self) -> list[nn.Parameter]:
        """The network's own numbers."""
        return [getattr(owner, name) for owner, name in self._places.values()]

    def _parts(self, k: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Views of a set's numbers, shaped as the parameters."""
        own = self._parameters()
        flat = torch.split(k, [parameter.numel() for parameter in own])
        return tuple(part.view(parameter.shape) for part, parameter in zip(flat, own, strict=True))

    def check_gates(self, what: str) -> None:
        """Refuse what is defined for gates alone.

        Raises:
            TypeError: If the battery keeps another adapter.
        """
        if self.adapter != "gates":
            raise TypeError(f"{what} takes a battery of 'gates', got one of {self.adapter!r}")

    def _only_lora(self, what: str, tensors: Iterable[Any]) -> dict[str, Any]:
        """Tensors by the parameters' paths; likewise refused unless the battery keeps low-rank adapters."""
        if self.adapter != "lora":
            raise TypeError(
                f"{what} takes a battery of 'lora', got one of {self.adapter!r}: peft has files for it alone"
            )
        return dict(zip(self._places, tensors, strict=True))

    def _find(self, name: str) -> KSet:
        try:
            return self._sets[name]
        except KeyError:
            raise KeyError(f"no k-set named {name!r}; there are {list(self)}") from None
