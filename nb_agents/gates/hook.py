"""The hook by which the regularisers of a gate reach the gradient of its k."""

from __future__ import annotations

from typing import Any
from weakref import ref

from torch import nn


class RegularizerHook:
    """Adds what the regularisers of a gate add to the gradient of its k, once a backward pass has accumulated it.

    Gates that share a k share the hook, and it is the first of them that counts. They are referred to weakly: Python's
    garbage collector does not see a parameter's hooks, so that one which held its gate would keep it for ever.
    """

    def __init__(self) -> None:
        self._gates: list[ref[Any]] = []

    def __call__(self, k: nn.Parameter) -> None:
        """See `torch.Tensor.register_post_accumulate_grad_hook`."""
        gate = next((gate for each in self._gates if (gate := each()) is not None and gate.k is k), None)
        for regularizer in () if gate is None else gate.regularizers:
            regularizer.add_gradient(gate)

    def add(self, gate: Any) -> None:
        """Serve one more gate with this k."""
        alive = [each for each in self._gates if each() is not None]
        self._gates = alive if any(each() is gate for each in alive) else [*alive, ref(gate)]


def hook(gate: Any, k: nn.Parameter) -> None:
    """Let the regularisers of ``gate`` reach ``k``, which it has or is about to have; once, however often it is asked.

    Args:
        gate: A `KGate`.
        k: Its parameter.
    """
    hooks = getattr(k, "_post_accumulate_grad_hooks", None) or {}
    found = next((each for each in hooks.values() if isinstance(each, RegularizerHook)), None)
    if found is None:
        found, trains = RegularizerHook(), k.requires_grad
        k.requires_grad_(True)  # PyTorch hooks only what trains; the hook stays while k is frozen
        k.register_post_accumulate_grad_hook(found)  # type: ignore[no-untyped-call]
        k.requires_grad_(trains)
    found.add(gate)
