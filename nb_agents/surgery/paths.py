"""All that a network may do: every mode, branch, optional argument and entry method, each as a graph."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

from torch import fx, nn

from nb_agents.surgery.tracing import TraceError, in_mode, trace_path

MOST_PATHS = 64
"""Largest number of paths through a network that are followed."""


def trace_all(
    root: nn.Module, methods: Iterable[str] = ("forward",), example_inputs: tuple[Any, ...] | None = None
) -> list[fx.Graph]:
    """The graphs of all that ``root`` may do: in both modes, with optional arguments or without, on every branch.

    Raises:
        TraceError: If `torch.fx` cannot follow the code, or there are more than `MOST_PATHS`.
    """
    graphs: list[fx.Graph] = []
    mixed = len({module.training for module in root.modules()}) > 1
    for method in methods:
        optional = optional_arguments(root, method)
        for mode in (None, True, False) if mixed else (True, False):
            for given in itertools.product((False, True), repeat=len(optional)):
                left_out = {name: optional[name] for name, there in zip(optional, given, strict=True) if not there}
                stack: list[tuple[bool, ...]] = [()]
                while stack:
                    turns = stack.pop()
                    if len(graphs) == MOST_PATHS:
                        raise TraceError(f"{type(root).__name__} has more than {MOST_PATHS} paths to follow")
                    example = example_inputs if method == "forward" else None
                    with in_mode(root, training=mode):
                        graph, taken = trace_path(root, (), example, method=method, left_out=left_out, turns=turns)
                    graphs.append(graph)
                    stack += [(*taken[:i], True) for i in range(len(turns), len(taken))]
    return graphs


def optional_arguments(root: nn.Module, method: str) -> dict[str, Any]:
    """The arguments that a call may leave out, with their defaults."""
    parameters = inspect.signature(getattr(root, method)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def entry_methods(root: nn.Module) -> list[str]:
    """The methods that a user of ``root`` may call with values: `forward`, and all public ones that use its children.

    What a class inherits from torch is none of them.
    """
    functions = {
        name: value
        for cls in reversed(type(root).__mro__)
        if cls.__module__.split(".")[0] != "torch"
        for name, value in vars(cls).items()
        if isinstance(value, FunctionType)
    }
    children = {*root._modules, "getattr", "_modules", "children", "named_children", "modules", "get_submodule"}

    def uses_children(name: str, seen: frozenset[str]) -> bool:
        names = names_in(functions[name].__code__)
        others = (other for other in names & functions.keys() if other not in seen | {"forward", "__init__"})
        return bool(names & children) or any(uses_children(other, seen | {name}) for other in others)

    public = [name for name in functions if not name.startswith("_") and name != "forward"]
    takes_values = [name for name in public if len(inspect.signature(functions[name]).parameters) > 1]
    return ["forward", *(name for name in takes_values if uses_children(name, frozenset()))]


def names_in(code: CodeType) -> set[str]:
    """The names of all attributes and globals in a piece of code, inner functions included."""
    inner = (names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)
