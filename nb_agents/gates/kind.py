"""What a user says of the gates of a network: their kind, and the arguments of all of them."""

from __future__ import annotations

from typing import Any

import torch

from nb_agents.gates.gate import KGate, check_arguments


def gate_arguments(gate_class: Any, block_size: Any, block_weight: Any, gate_max: Any, k_init: Any) -> dict[str, Any]:
    """The arguments that a user has given for all gates of a network, checked; ``k_init`` of None is the kind's own.

    Raises:
        TypeError: If ``gate_class`` is no kind of gate, or another argument is not of its kind.
        ValueError: If one is out of its range.
    """
    check_gate_class(gate_class)
    k_init = gate_class.k_start if k_init is None else k_init
    check_arguments(block_size, block_weight, k_init, gate_max)
    return {
        "gate_class": gate_class, "block_size": block_size, "block_weight": block_weight, "gate_max": gate_max,
        "k_init": k_init,
    }  # fmt: skip


def check_gate_class(gate_class: Any) -> None:
    """Refuse what is no kind of gate.

    Raises:
        TypeError: If ``gate_class`` is no subclass of `KGate`, lacks a formula, or its formula is not one.
        ValueError: If its gates start at 0 or at no finite number, or k gets no gradient there.
    """
    accepted = "gate_class must be KGate or a subclass of it with a formula of its own, phi or gate"
    if not (isinstance(gate_class, type) and issubclass(gate_class, KGate)):
        raise TypeError(f"{accepted}, got {gate_class!r}")
    if gate_class is not KGate and (gate_class.phi, gate_class.gate) == (KGate.phi, KGate.gate):
        raise TypeError(f"{accepted}, got {gate_class!r} without one")
    try:
        with torch.enable_grad():  # whatever the caller's mode
            gate = gate_class(3, block_size=2)
            values = gate.gate()
            found = tuple(gate.phi(gate.k).shape), tuple(values.shape)
            slope = torch.autograd.grad(values.sum(), gate.k, allow_unused=True)[0] if values.requires_grad else None
    except Exception as error:  # the formula is the user's, and may fail in any way
        raise TypeError(f"{accepted}, got {gate_class!r}, which fails with {type(error).__name__}: {error}") from error
    if found != (tuple(gate.k.shape), (3,)):
        raise TypeError(f"{accepted}, got {gate_class!r}, which makes {found} of 3 k's and units")
    start = f"{gate_class!r}, which at its k_start of {gate_class.k_start}"
    if not values.isfinite().all() or values.eq(0).any():
        raise ValueError(f"{accepted}, finite and not 0 at the start, got {start} is {values.tolist()}")
    if slope is None or not slope.isfinite().all():
        raise ValueError(f"{accepted}, with a gradient, got {start} has {None if slope is None else slope.tolist()}")
