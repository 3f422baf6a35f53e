"""Options of a comparison, put together of what is given, of a YAML file and of the defaults, and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nb_agents._checks import check_count
from nb_agents.comparison.methods import METHODS, RUN
from nb_agents.comparison.settings import algorithm, check_settings, read_settings, read_yaml
from nb_agents.comparison.specification import KEYWORDS, ComparisonSpec
from nb_agents.comparison.trial import check_models
from nb_agents.comparison.worlds import check_worlds

COUNTS = ("source_steps", "steps", "evaluations", "episodes", "seeds")
TEXTS = ("wrapper", "algo", "hyperparameters", "like")


def resolved(
    env: str, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...], int]:
    """What all specifications share, the methods, and the number of seeds; see `Comparison.planned`."""
    if Path(env).suffix in (".yml", ".yaml"):
        env, given = _from_file(Path(env), defaults, given)
    options = {**defaults, **given}
    _check_kinds(options)
    for name in KEYWORDS:
        options[name] = plain(name, options[name])
    if options["source"] == options["target"]:
        raise ValueError(f"target must differ from source, or nothing changes; got {options['target']} for both")
    cls = algorithm(options["algo"])
    settings: dict[str, Any] = {}
    if options["hyperparameters"]:
        settings = read_settings(cls.__name__, env, options["hyperparameters"], options["like"])
    known_steps = settings.pop("n_timesteps", None)
    if known_steps and "source_steps" not in given:
        options["source_steps"] = int(known_steps)
    settings |= options["set"]
    check_settings(cls, settings)
    contexts = {name: [float(end) for end in ends] for name, ends in options["contexts"].items()}
    fields = ("wrapper", "common", "source", "target", "source_steps", "steps", "evaluations", "episodes")
    shared = {name: options[name] for name in fields}
    shared |= {"env": env, "algo": cls.__name__, "settings": settings, "contexts": contexts}
    methods = tuple(dict.fromkeys(options["methods"])) or tuple(name for name in RUN if contexts or name != "student")
    if "student" in methods and not contexts:
        raise ValueError("method student needs contexts, ranges that it is trained over, as in A=1.0:1.5")
    shared["code"] = check_worlds(ComparisonSpec(method=methods[0], seed=0, **shared))
    check_models(ComparisonSpec(method=methods[0], seed=0, **shared), methods)
    return shared, methods, options["seeds"]


def plain(name: str, value: Any) -> Any:
    """A value as the files of the runs give it back: of JSON's kinds, with tuples as lists.

    Raises:
        ValueError: It is of another kind.
    """
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(f"{name}.{key}", each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(name, each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(
        f"{name} must be a finite number, a text, a truth value, or lists or mappings of these, which the runs' files "
        f"can hold; got {value!r}"
    )


def _from_file(path: Path, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    data = {name.replace("-", "_"): value for name, value in read_yaml(path).items()}
    env = data.pop("env", None)
    if not isinstance(env, str):
        raise ValueError(f"env must stand in {path}, the id of an environment; got {env!r}")
    if unknown := sorted(data.keys() - defaults.keys()):
        raise ValueError(f"{path} has {unknown[0]!r}, which is no option; options are env, {', '.join(defaults)}")
    return env, {**data, **given}


def _check_kinds(options: Mapping[str, Any]) -> None:
    for name in COUNTS:
        check_count(name, options[name])
    for name in TEXTS:
        if not isinstance(options[name], str):
            raise TypeError(f"{name} must be a text, got {options[name]!r}")
    if options["like"] and not options["hyperparameters"]:
        raise ValueError(
            f"like names an entry of hyperparameters, which must be given as well; got {options['like']!r}"
        )
    for name in KEYWORDS:
        each = options[name]
        if not isinstance(each, Mapping) or not all(isinstance(key, str) for key in each):
            raise TypeError(f"{name} must be names and values, got {each!r}")
    contexts = options["contexts"]
    ranges = contexts.values() if isinstance(contexts, Mapping) else [None]
    if not all(isinstance(ends, (list, tuple)) and len(ends) == 2 and _rise(*ends) for ends in ranges):
        raise ValueError(f"contexts must be ranges by name, low < high, as in A=1.0:1.5; got {contexts!r}")
    methods = options["methods"]
    if not isinstance(methods, (list, tuple)) or not all(name in RUN for name in methods):
        raise ValueError(f"methods must be of {', '.join(each for each in METHODS if each in RUN)}; got {methods!r}")


def _rise(low: Any, high: Any) -> bool:
    numbers = all(isinstance(end, (int, float)) and math.isfinite(end) for end in (low, high))
    return numbers and bool(low < high)
