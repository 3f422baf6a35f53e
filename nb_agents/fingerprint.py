"""Which network a k-set belongs to: its architecture, and its weights without the k's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nb_agents.adaptation import acting_modules, acting_parameters
from nb_agents.gates import KGate


@dataclass(frozen=True)
class Fingerprint:
    """What a network's deterministic output depends on besides the k's.

    Attributes:
        architecture: SHA-256 of the modules' paths, classes and arguments, shapes and dtypes, and the gates' blocks.
        weights: SHA-256 of all parameters but the k's and of all persistent buffers, both hexadecimal.
    """

    architecture: str
    weights: str


def fingerprint(network: nn.Module) -> Fingerprint:
    """The fingerprint of a module or policy; of a policy's actor alone, see `nb_agents.adaptation.acting_modules`."""
    architecture, weights = hashlib.sha256(), hashlib.sha256()
    for path, module in acting_modules(network):
        architecture.update(f"{path}: {type(module).__qualname__}({module.extra_repr()})\n".encode())
        if isinstance(module, KGate):
            architecture.update(_bytes(module.membership))
    for path, owner, name in _frozen(network):
        architecture.update(f"{path}: {owner[name].dtype} {tuple(owner[name].shape)}\n".encode())
        weights.update(_bytes(owner[name]))
    return Fingerprint(architecture.hexdigest(), weights.hexdigest())


class WeightsWatch:
    """Notices in microseconds that what `fingerprint` covers may have changed; takes its picture when made.

    PyTorch counts in-place changes of a tensor, but not those by fused optimizers and by normalisation layers, so
    whatever these could reach is compared value by value, 1 µs per layer of 64 units. What neither sees is a frozen
    parameter written to through its ``data``.
    """

    def __init__(self, network: nn.Module) -> None:
        # The alias keeps the memory in use, so that an equal address means that nothing was put in its place.
        tensors = [(owner, name, owner[name]) for _, owner, name in _frozen(network)]
        self._pictures = [
            (*entry, entry[2].detach(), entry[2].detach().clone(), entry[2]._version) for entry in tensors
        ]

    def unchanged(self) -> bool:
        """Whether all is as it was; False may be a false alarm."""
        for owner, name, tensor, alias, values, version in self._pictures:
            now = owner.get(name)
            if now is not tensor or now._version != version or now.data_ptr() != alias.data_ptr():
                return False
            is_frozen = isinstance(now, nn.Parameter) and not now.requires_grad
            if not is_frozen and not torch.equal(alias, values):
                return False
        return True


def _frozen(network: nn.Module) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Parameters but the k's, and persistent buffers, of what acts: path, and the module's table and key."""
    parameters = {path for path, _ in acting_parameters(network)}
    for path, module in acting_modules(network):
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            is_k = isinstance(module, KGate) and name == "k"
            if parameter is not None and not is_k and prefix + name in parameters:
                yield prefix + name, module._parameters, name
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                yield prefix + name, module._buffers, name


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
