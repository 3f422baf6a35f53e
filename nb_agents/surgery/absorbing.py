"""Gates multiplied into other layers' weights: the layer's before where that is possible, else those behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx, nn

from nb_agents.gates.gate import KGate
from nb_agents.surgery.flow import Flow
from nb_agents.surgery.local_folding import layers_before
from nb_agents.surgery.own_layers import scale_rows
from nb_agents.surgery.ranks import Ranks
from nb_agents.surgery.transformers import readers_of_gates
from nb_agents.surgery.weights import FoldError, into, into_bias


@torch.no_grad()
def absorb(
    root: nn.Module,
    graphs: Sequence[fx.Graph],
    gates: Mapping[str, KGate],
    *,
    inverse: bool = False,
    all_entries: bool = True,
) -> None:
    """Multiply every gate into weights of ``root``, and its shift, if it has one, into biases behind it; in place.

    Args:
        root: The network that was traced.
        graphs: Graphs of all that it may do, see `nb_agents.surgery.paths.trace_all`.
        gates: All its gates, by the names that they were traced under.
        inverse: Whether to divide instead: the network with these gates then computes what it did without them.
        all_entries: Whether a layer that no graph calls may still read what a gate scales.

    Raises:
        FoldError: If a gate cannot be absorbed; it names all of those, and no weight has changed.
        ValueError: If ``inverse`` and a gate is so small that dividing by it overflows; likewise.
    """
    values = {name: _by_unit(gate, gate.gate()) for name, gate in gates.items()}
    added = {name: _by_unit(gate, s) for name, gate in gates.items() if (s := gate.shift()) is not None}
    shifts = {name: s for name, s in added.items() if s.any()}  # none of a new gate's, which `inverse` is for
    broken = [name for found in (values, added) for name, g in found.items() if not g.isfinite().all()]
    if broken:
        raise FoldError(f"the gates {broken} are not finite numbers", dict.fromkeys(broken, "it is not finite"))
    closed = [name for name, g in values.items() if g.abs().min() < torch.finfo(g.dtype).tiny]
    if inverse and closed:
        raise ValueError(f"k_init must leave the gates open: the weights behind {closed} cannot be divided by 0")
    signed = frozenset(name for name, g in values.items() if g.min() < 0)
    ranks = Ranks(root, graphs)
    inside = {name: (reader, why) for name, _, reader, why in readers_of_gates(root, graphs)}
    positive = {name: gate for name, gate in gates.items() if name not in signed | shifts.keys() | inside.keys()}
    before = layers_before(root, graphs, positive, ranks)
    flow = Flow(root, graphs, ranks, ungated=before, signed=signed, shifted=frozenset(shifts))
    blocked = flow.blocked | {name: why for name, (_, why) in inside.items() if why}
    called = {str(node.target) for graph in graphs for node in graph.nodes if node.op == "call_module"}
    for name in gates:
        if name in inside and name in shifts and into_bias(inside[name][0]) is None:
            blocked.setdefault(name, "linear2 cannot take a shift into a bias of its own")
        if name not in called and name not in inside:
            blocked.setdefault(name, "forward does not call it (or calls it by another path)")
    if all_entries and (silent := _uncalled(root, called)):
        for name in gates.keys() - before.keys() - inside.keys():
            blocked.setdefault(name, f"{silent[0]!r} may read its values in another method; forward does not call it")
    if blocked:
        reasons = "; ".join(f"gate {name!r}: {reason}" for name, reason in sorted(blocked.items()))
        raise FoldError(reasons, blocked)
    if inverse:
        values = {name: 1 / g for name, g in values.items()}
    for name, (reader, _) in inside.items():
        if name in shifts and (add := into_bias(reader)) is not None:
            add(shifts[name])  # through the weight as it is before the factors
        into(reader.weight)(values[name])
    for name, layer in before.items():
        scale_rows(layer, values[name])
    flow.absorb(values, shifts)


def _by_unit(gate: KGate, values: torch.Tensor) -> torch.Tensor:
    """A number for each unit, shape ``(n_units,)``."""
    return values.detach().flatten().expand(gate.n_units).clone()


def _uncalled(root: nn.Module, called: set[str]) -> list[str]:
    """Layers with weights that no graph calls."""
    inside = {id(part) for name in called for part in root.get_submodule(name).modules()}
    owners = ((name, module) for name, module in root.named_modules() if not any(True for _ in module.children()))
    return [name for name, module in owners if id(module) not in inside and any(True for _ in module.parameters())]
