"""A module's gates in its weights: what is common to folding and to finding out what could be folded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from nb_agents.gates.gate import named_gates
from nb_agents.surgery.absorbing import absorb
from nb_agents.surgery.copies import copy_of
from nb_agents.surgery.doubts import follow
from nb_agents.surgery.paths import entry_methods
from nb_agents.surgery.tracing import TraceError, separate_children
from nb_agents.surgery.transformers import is_opaque
from nb_agents.surgery.weights import FoldError


def absorbed(
    module: nn.Module, example_inputs: Any, methods: Collection[str] | None, *, fixed: bool = False
) -> nn.Module:
    """A copy of ``module`` whose gates are in its weights too; see `nb_agents.surgery.fold.fold_gates`."""
    if isinstance(methods, str) or not all(callable(getattr(module, str(name), None)) for name in methods or ()):
        raise ValueError(f"methods must be names of methods of {type(module).__name__}, got {methods!r}")
    entries = entry_methods(module) if methods is None else ["forward", *methods]
    folded = copy_of(module)
    try:
        absorb_in(folded, entries, example_inputs, fixed=fixed, all_entries=methods is None)
    except TraceError as error:
        if example_inputs is None or len(entries) > 1:
            more = "; methods=() folds for forward alone" if methods is None and len(entries) > 1 else ""
            hint = f"pass example_inputs, so that the result can be compared{more}"
            raise FoldError(f"gates {[n for n, _ in named_gates(module)]}: {error} ({hint})") from error
        _absorb_in_children(folded, error, "", fixed=fixed)
    except FoldError as error:
        more = f" (what {entries} give must stay the same; methods=() folds for forward alone)"
        raise FoldError(f"{error}{more if methods is None else ''}", error.gates) from None
    return folded


def absorb_in(
    root: nn.Module,
    entries: list[str],
    example_inputs: tuple[Any, ...] | None,
    *,
    fixed: bool = False,
    inverse: bool = False,
    all_entries: bool = True,
) -> None:
    """Multiply all gates of ``root`` into its weights, in place; see `follow` and `absorb`."""
    if is_opaque(root):
        absorb(root, [], dict(named_gates(root)), inverse=inverse, all_entries=False)
    else:
        graphs = follow(root, entries, example_inputs, fixed=fixed)
        absorb(root, graphs, dict(named_gates(root)), inverse=inverse, all_entries=all_entries)


def _absorb_in_children(root: nn.Module, why: TraceError, prefix: str, *, fixed: bool) -> None:
    """The same for each child of a network that cannot be followed as a whole, and for theirs where that fails too."""
    for name, child in separate_children(root):
        if not any(named_gates(child)):
            continue
        try:
            absorb_in(child, ["forward"], None, fixed=fixed)
        except TraceError as error:
            if not any(True for _ in child.children()):
                raise FoldError(f"in {prefix + name!r}, {error} ({why})") from None
            _absorb_in_children(child, why, f"{prefix}{name}.", fixed=fixed)
        except FoldError as error:
            gates = {f"{prefix}{name}.{gate}": reason for gate, reason in error.gates.items()}
            raise FoldError(f"in {prefix + name!r}, {error} ({why})", gates) from None


def check_module(module: Any) -> None:
    """Refuse what is no torch module."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
