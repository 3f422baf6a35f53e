"""Whether inserting gates into random networks and folding them changes one in silence.

``PYTHONPATH=. python -m tests.nb_agents.surgery.random_networks 2000`` counts what became of so many.
"""

from __future__ import annotations

import ast
import collections
import copy
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nb_agents.gates.gate import KGate, named_gates
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from tests.nb_agents.surgery.random_builder import Builder, Net, WithOption
from tests.nb_agents.surgery.random_twists import TWISTS


def by_hand(net: Net) -> Net:
    """A copy with gates of the user's own around activation modules."""
    gated = copy.deepcopy(net)
    for name, module in list(gated.layers.items()):
        if isinstance(module, (nn.ReLU, nn.Tanh, nn.LeakyReLU)):
            gated.layers[name] = KGate(1, block_size=None, activation=module)
    return gated


@torch.no_grad()
def differs(one: nn.Module, other: nn.Module, x: torch.Tensor, tolerance: float) -> bool:
    """Whether two networks compute different things in any mode, by any entry, or keep different values.

    An entry that fails in the first is skipped; where it fails in the second alone, that is no silence either.
    """
    entries: list[Callable[[Any], Any]] = [lambda net: net(x)]
    if isinstance(one, WithOption):
        entries.append(lambda net: net(x, torch.full((), 0.7, dtype=x.dtype)))
    if hasattr(one, "value") and hasattr(other, "value"):
        entries.append(lambda net: net.value(x))
    if hasattr(one, "kept") and hasattr(other, "kept"):
        entries.append(lambda net: (net(x), net.kept)[1])

    def run(net: nn.Module, mode: bool, entry: Callable[[Any], Any]) -> Any:
        torch.manual_seed(0)
        try:
            return entry(copy.deepcopy(net).train(mode))
        except (RuntimeError, ValueError, IndexError):
            return None

    for mode in (True, False):
        for entry in entries:
            a, b = run(one, mode, entry), run(other, mode, entry)
            if a is not None and b is not None:
                if not (b - a).abs().max() <= tolerance * max(float(a.abs().max()), 1e-3):
                    return True
            elif a is not None:
                print("fails:", mode, type(one).__name__, file=sys.stderr)
    return False


def insert(net: nn.Module, example_inputs: tuple[Any, ...] | None) -> nn.Module:
    """Gates wherever they can go."""

    def attempt(exclude: tuple[str, ...]) -> nn.Module:
        try:
            return insert_gates(net, block_size=2, example_inputs=example_inputs, exclude=exclude)
        except ValueError as error:
            if (found := re.search(r"exclude=(\(.*\))$", str(error))) is None:
                raise
            return attempt((*exclude, *ast.literal_eval(found[1])))

    return attempt(())


def outcome(seed: int) -> tuple[str, str]:
    """What became of one network: of inserting gates, and of folding them."""
    torch.manual_seed(seed)
    net, x = Builder(seed, TWISTS).build()
    net, x = net.double(), x.double()
    example: tuple[Any, ...] | None = (x,) if seed % 2 else None
    inserted, folded = "inserted", "none"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if seed % 3:
            try:
                gated = insert(net, example)
            except ValueError as error:
                return "refused", f"none: {error}"
            if differs(net, gated, x, 0.0):
                return "SILENT", "none"
        else:
            gated = by_hand(net)
            if not any(named_gates(gated)):
                return "no gates", "none"
        with torch.no_grad():
            for _, gate in named_gates(gated):
                gate.k.normal_(0.0, 2.0)
        try:
            plain = fold_gates(gated, example_inputs=example, fixed=example is not None and seed % 5 == 0)
        except ValueError as error:
            folded = f"refused: {error}"
        else:
            folded = "SILENT" if differs(gated, plain, x, 1e-7) else "folded"
    return inserted, folded


def main(n: int) -> None:
    """Print the counts of ``n`` networks."""
    inserting, folding = collections.Counter[str](), collections.Counter[str]()
    for seed in range(n):
        inserted, folded = outcome(seed)
        inserting[inserted] += 1
        folding[folded.split(":")[0]] += 1
        if "SILENT" in (inserted, folded):
            print("silent:", seed, inserted, folded, flush=True)
        if seed % 100 == 99:
            print(seed + 1, dict(inserting), dict(folding), file=sys.stderr)
    print(dict(inserting), dict(folding))


if __name__ == "__main__":
    main(int(sys.argv[1]))
