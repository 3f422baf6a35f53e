"""Options of a comparison, put together of what is given, of a YAML file and of the defaults, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nb_agents._checks import check_count
from nb_agents.comparison.methods import METHODS, RUN
from nb_agents.comparison.settings import algorithm, check_settings, read_settings, read_yaml
from nb_agents.comparison.specification import ComparisonSpec
from nb_agents.comparison.worlds import check_worlds

COUNTS = ("source_steps", "steps", "evaluations", "episodes", "seeds")
TEXTS = ("wrapper", "algo", "hyperparameters", "like")


def resolved(
    env: str, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...], int]:
    """What all specifications share, the methods, and the number of seeds; see `Comparison.planned`."""
    options = {**defaults, **given}
    if Path(env).suffix in (".yml", ".yaml"):
        env, options = _from_file(Path(env), defaults, given)
    _check_kinds(options)
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
    check_worlds(ComparisonSpec(method=methods[0], seed=0, **shared))
    return shared, methods, options["seeds"]


def _from_file(path: Path, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    data = {name.replace("-", "_"): value for name, value in read_yaml(path).items()}
    env = data.pop("env", None)
    if not isinstance(env, str):
        raise ValueError(f"env must stand in {path}, the id of an environment; got {env!r}")
    if unknown := sorted(data.keys() - defaults.keys()):
        raise ValueError(f"{path} has {unknown[0]!r}, which is no option; options are env, {', '.join(defaults)}")
    return env, {**defaults, **data, **given}


def _check_kinds(options: Mapping[str, Any]) -> None:
    for name in COUNTS:
        check_count(name, options[name])
    for name in TEXTS:
        if not isinstance(options[name], str):
            raise TypeError(f"{name} must be a text, got {options[name]!r}")
    for name in ("source", "target", "common", "set"):
        each = options[name]
        if not isinstance(each, Mapping) or not all(isinstance(key, str) for key in each):
            raise TypeError(f"{name} must be names and values, got {each!r}")
    contexts = options["contexts"]
    ranges = contexts.values() if isinstance(contexts, Mapping) else [None]
    if not all(isinstance(ends, (list, tuple)) and len(ends) == 2 and ends[0] < ends[1] for ends in ranges):
        raise ValueError(f"contexts must be ranges by name, low < high, as in A=1.0:1.5; got {contexts!r}")
    methods = options["methods"]
    if not isinstance(methods, (list, tuple)) or not all(name in RUN for name in methods):
        raise ValueError(f"methods must be of {', '.join(each for each in METHODS if each in RUN)}; got {methods!r}")
