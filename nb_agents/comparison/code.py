"""What a run depends on that is not in its options: the user's own source files, and packages beside ours."""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym

from nb_evaluation.runs.provenance import PACKAGES

OURS = ("nb_agents", "nb_evaluation", "nb_gym", "nb_runtime")
"""Their version is a part of every run."""


def code_of(env: gym.Env[Any, Any], *others: object) -> dict[str, str]:
    """What the classes of an environment and of its wrappers are made of, and other classes and functions.

    A file of the user's has a digest, as have those that it imports at its top, and theirs. An installed package has
    its version, as have those that the module of an environment's class imports. What is imported within functions,
    and files of data, are not seen.

    Returns:
        Digests and versions, by the name of the module or of the distribution.
    """
    found: dict[str, str] = {}
    known = metadata.packages_distributions()
    waiting = [(module, False) for module in map(_module, others) if module]
    waiting += [(module, True) for module in map(_module, _classes(env)) if module]
    seen: set[str] = set()
    while waiting:
        module, named = waiting.pop()
        file, top = getattr(module, "__file__", None), module.__name__.partition(".")[0]
        if module.__name__ in seen or top in OURS or not file:
            continue
        installed = _installed(Path(file))
        if installed:
            names = [name.lower().replace("_", "-") for name in known.get(top, [])]
            found |= {name: metadata.version(name) for name in names if name not in PACKAGES}
        else:
            found[module.__name__] = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
        if named or not installed:
            seen.add(module.__name__)
            waiting += [(each, False) for each in map(_module, list(vars(module).values())) if each]
    return dict(sorted(found.items()))


def _classes(env: Any) -> Iterator[type]:
    while True:
        yield from type(env).__mro__
        if not isinstance(env, gym.Wrapper):
            return
        env = env.env


def _module(thing: Any) -> ModuleType | None:
    if inspect.ismodule(thing):
        return thing
    name = getattr(thing, "__module__", None)
    return sys.modules.get(name) if isinstance(name, str) else None


def _installed(file: Path) -> bool:
    standard = Path(sysconfig.get_paths()["stdlib"])
    return bool({"site-packages", "dist-packages"} & set(file.parts)) or standard in file.parents
