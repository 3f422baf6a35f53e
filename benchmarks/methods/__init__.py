"""The methods under comparison: a file each in this folder, which is all that adding one takes.

A file names its method, with dashes for underscores, and holds it as `METHOD`: how it runs (one of `kinds`, or a kind
of its own), its summary, its style and panel in figures, its settings and their search space.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any, TypeVar

from benchmarks.methods.kinds.base import Method
from benchmarks.protocol.settings import ALGORITHMS
from benchmarks.protocol.spec import RunSpec
from nb_evaluation.runs import groups
from nb_evaluation.runs.records import FinishedRun

AnyRun = TypeVar("AnyRun", bound=FinishedRun[Any, Any])


def _find() -> dict[str, Method]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    found = {name.replace("_", "-"): importlib.import_module(f"{__name__}.{name}").METHOD for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].row))


METHODS: dict[str, Method] = _find()
"""By the names that they have in tables and on command lines, in the order of the tables."""


def find_method(name: str) -> Method:
    """Look a method up.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {name!r}")
    return METHODS[name]


def by_method(runs: Iterable[AnyRun]) -> dict[str, list[AnyRun]]:
    """Runs grouped by method, in the order of the tables, each group sorted by seed."""
    return groups.by_method(runs, METHODS)


def specify(method: str, **options: Any) -> RunSpec:
    """A specification with the tuned settings of its algorithm, and the method's own if it has any.

    Args:
        method: Key of `METHODS`.
        **options: Fields of `RunSpec`; those given are kept.

    Raises:
        ModuleNotFoundError: A package that the method needs is not installed.
        TypeError: A context names something that the pendulum does not have.
        ValueError: The method does not exist or is not defined for the algorithm, or a field is out of range.
    """
    found = find_method(method)
    algo = options.get("algo", "ppo")
    if algo not in found.algos:
        raise ValueError(f"method {method} is defined for {', '.join(found.algos)}; got the algorithm {algo!r}")
    if algo in ALGORITHMS:
        options.setdefault("settings", ALGORITHMS[algo]())
    budget = options.get("pretrain_episodes", RunSpec.pretrain_episodes)
    if options.get("meta") is None:
        options["meta"] = found.own_settings(budget)
    spec = RunSpec(method=method, **options)
    found.check(spec)
    return spec
