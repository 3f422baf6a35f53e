"""Fingerprints of networks: digests of their architecture, and of their weights without an adapter's numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from nb_agents.adapters.acting import acting_modules, acting_parameters
from nb_agents.adapters.gates import Gates
from nb_agents.adapters.kind import Adapter
from nb_agents.adapters.lora import added_modules, is_lora, scale_of
from nb_agents.adapters.table import ADAPTERS
from nb_agents.gates.gate import KGate
from nb_runtime import FingerprintError


@dataclass(frozen=True)
class Fingerprint:
    """Digests of all that a network's deterministic output depends on besides an adapter's numbers, as the k's.

    Attributes:
        architecture: SHA-256 of the modules' paths, classes and arguments, shapes and dtypes, and the gates' blocks.
        weights: SHA-256 of all parameters but the adapter's and of all persistent buffers, both hexadecimal.
        kind: Names of the gates' classes.
        adapter: Name of the adapter.
    """

    architecture: str
    weights: str
    kind: str = KGate.__qualname__
    adapter: str = Gates.name

    @classmethod
    def of(cls, header: Mapping[str, str]) -> Fingerprint:
        """The fingerprint in the header of a file."""
        more = header.get("gates", cls.kind), header.get("adapter", cls.adapter)
        return cls(header["architecture"], header["weights"], *more)

    def header(self) -> dict[str, str]:
        """What a file says of the network; of kinds only if they are not the default, as ever."""
        written = {"architecture": self.architecture, "weights": self.weights}
        kinds = {"gates": (self.kind, type(self).kind), "adapter": (self.adapter, type(self).adapter)}
        return written | {name: kind for name, (kind, default) in kinds.items() if kind != default}

    def check(self, found: Fingerprint, when: str) -> None:
        """Raise `FingerprintError` if a network's fingerprint is another than when k-sets were taken or written."""
        if found.adapter != self.adapter:
            reason = f"the adapter {self.adapter!r}, not {found.adapter!r}"
        elif found.kind != self.kind:
            reason = f"gates of the kind {self.kind}, not {found.kind}"
        elif found.architecture != self.architecture:
            reason = "a network of another architecture"
        elif found.weights != self.weights:
            what = "k's" if self.adapter == Gates.name else f"numbers of {self.adapter!r}"
            reason = (
                f"other weights: {what} mean nothing beside weights that they were not learned with. To keep the "
                f"weights, train after policy.train_only({self.adapter!r})"
            )
        else:
            return
        raise FingerprintError(f"{when} for {reason}; nothing was changed")


def fingerprint(network: nn.Module, adapter: Adapter = ADAPTERS[Gates.name]) -> Fingerprint:
    """The fingerprint of a module or policy; of a policy's actor alone, see `acting_modules`."""
    architecture, weights = hashlib.sha256(), hashlib.sha256()
    added = set[nn.Module]()
    for path, module in acting_modules(network):
        if is_lora(module):  # told in words of ours: what peft puts there differs from one version of it to the next
            added.update(added_modules(module))
            architecture.update(f"{path}: LoRA({scale_of(module)})\n".encode())
        elif module not in added:
            architecture.update(f"{path}: {type(module).__qualname__}({module.extra_repr()})\n".encode())
        if isinstance(module, KGate):
            architecture.update(_bytes(module.membership))
    for line in adapter.shape(network):
        architecture.update(f"{line}\n".encode())
    for path, owner, name in _frozen(network, adapter):
        architecture.update(f"{path}: {owner[name].dtype} {tuple(owner[name].shape)}\n".encode())
        weights.update(_bytes(owner[name]))
    kinds = sorted({type(m).__qualname__ for _, m in acting_modules(network) if isinstance(m, KGate)})
    kind = ", ".join(kinds) or KGate.__qualname__  # where another adapter is kept, there may be no gates
    return Fingerprint(architecture.hexdigest(), weights.hexdigest(), kind, adapter.name)


class WeightsWatch:
    """Notices in microseconds that what `fingerprint` covers may have changed since this was made.

    PyTorch counts in-place changes of a tensor, but not those by fused optimizers and by normalisation layers, so
    whatever these could reach is compared value by value. What neither sees is a frozen parameter written to through
    its ``data``.
    """

    def __init__(self, network: nn.Module, adapter: Adapter) -> None:
        # The alias keeps the memory in use, so that an equal address means that nothing was put in its place.
        tensors = [(owner, name, owner[name]) for _, owner, name in _frozen(network, adapter)]
        aliases = [tensor.detach() for _, _, tensor in tensors]
        self._pictures = [
            (*entry, alias, _comparison(alias, alias.clone()), alias._version)
            for entry, alias in zip(tensors, aliases, strict=True)
        ]

    def unchanged(self) -> bool:
        """Whether all is as it was; False may be a false alarm."""
        for owner, name, tensor, alias, is_as_before, version in self._pictures:
            now = owner.get(name)
            if now is not tensor or now._version != version or now.data_ptr() != alias.data_ptr():
                return False
            is_frozen = isinstance(now, nn.Parameter) and not now.requires_grad
            if not is_frozen and not is_as_before():
                return False
        return True


def _comparison(now: torch.Tensor, before: torch.Tensor) -> Callable[[], bool]:
    """Whether the values are equal when it is called."""
    # torch.equal goes element by element: quick for few, and for many several times slower than NumPy.
    if now.numel() > 8192 and now.device.type == "cpu" and now.dtype in (torch.float32, torch.float64):
        return partial(np.array_equal, now.numpy(), before.numpy())
    return partial(torch.equal, now, before)


def _frozen(network: nn.Module, adapter: Adapter) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Parameters but the adapter's, and persistent buffers, of what acts: path, and the module's table and key."""
    own = {id(parameter) for parameter in adapter.parameters(network).values()}
    parameters = {path for path, parameter in acting_parameters(network) if id(parameter) not in own}
    for path, module in acting_modules(network):
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None and prefix + name in parameters:
                yield prefix + name, module._parameters, name
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                yield prefix + name, module._buffers, name


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
