"""Hyperparameters as the RL zoo writes them: read from its files, and made into arguments of SB3's classes."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from nb_agents.policies.usage import gated_classes

NOISES = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}
"""Values of ``noise_type``."""

OURS = ("n_envs", "normalize", "policy", "noise_type", "noise_std")
"""What a zoo's entry says beside the algorithm's own arguments, and is used here."""

ELSEWHERE = ("env_wrapper", "vec_env_wrapper", "frame_stack", "callback", "monitor_kwargs", "env_kwargs")
"""What it may say, and has an option of its own here, or no place."""

ZOO = "zoo"


def algorithms() -> dict[str, type[BaseAlgorithm]]:
    """The algorithms that have a k-gated policy, by the name of their class."""
    import stable_baselines3

    modules = [stable_baselines3]
    if importlib.util.find_spec("sb3_contrib"):
        import sb3_contrib

        import nb_agents.contrib  # noqa: F401  (they know our policies from here on)

        modules.append(sb3_contrib)
    found = [each for module in modules for each in vars(module).values() if inspect.isclass(each)]
    return {each.__name__: each for each in found if issubclass(each, BaseAlgorithm) and gated_classes(each)}


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The algorithm of a name, in whatever case it is written.

    Raises:
        ValueError: There is none.
    """
    known = {each.lower(): cls for each, cls in algorithms().items()}
    if name.lower() not in known:
        raise ValueError(f"algo must be one of {', '.join(sorted(known))}; got {name!r}")
    return known[name.lower()]


def read_settings(algo: str, env: str, where: str, like: str = "") -> dict[str, Any]:
    """An entry of a file of the RL zoo's.

    Args:
        algo: Name of the algorithm's class.
        env: Id of the environment.
        where: Name of the file, or "zoo" for those of an installed ``rl_zoo3``.
        like: Id whose entry is taken; "" for ``env``.

    Raises:
        ImportError: PyYAML, or the zoo, is missing.
        OSError: The file cannot be read.
        ValueError: It is no such file, or has no such entry.
    """
    entries = read_yaml(_of_the_zoo(algo) if where == ZOO else Path(where))
    name = like or env
    if name not in entries:
        others = ", ".join(key for key in entries if not key.startswith("_")) or "none"
        raise ValueError(f"hyperparameters of {name} must stand in {where}; entries there: {others}")
    if not isinstance(entries[name], dict):
        raise ValueError(f"hyperparameters of {name} in {where} must be names and values, got {entries[name]!r}")
    return dict(entries[name])


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds names and values.

    Raises:
        ImportError: PyYAML is missing.
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError('YAML files need pyyaml: pip install "neural-battery[compare]"') from error
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise ValueError(f"{path} must hold names and values, got {type(data).__name__}")
    return data


def _of_the_zoo(algo: str) -> Path:
    found = importlib.util.find_spec("rl_zoo3")
    if found is None or not found.submodule_search_locations:
        raise ImportError("hyperparameters of the RL zoo need rl_zoo3: pip install rl_zoo3")
    path = Path(found.submodule_search_locations[0], "hyperparams", f"{algo.lower()}.yml")
    if not path.is_file():
        raise ValueError(f"hyperparameters of {algo} must be given: this RL zoo has no {path.name}")
    return path


def check_settings(algo: type[BaseAlgorithm], settings: Mapping[str, Any]) -> None:
    """Refuse what cannot be used, before anything is trained.

    Raises:
        ValueError: A setting is unknown, has another place, or a value cannot be read.
    """
    for name in ELSEWHERE:
        if name in settings:
            raise ValueError(f"setting {name} cannot be used: write --wrapper module:function, or --common NAME=VALUE")
    known = {name for name in inspect.signature(algo).parameters if name not in ("env", "policy", "seed", "device")}
    for name in settings:
        if name not in known and name not in OURS:
            raise ValueError(f"setting {name} is none of {algo.__name__}'s: {', '.join(sorted({*known, *OURS}))}")
    if "noise_type" in settings and ("action_noise" not in known or settings["noise_type"] not in NOISES):
        raise ValueError(f"setting noise_type must be {' or '.join(NOISES)}, where the algorithm takes action noise; "
                         f"got {settings['noise_type']!r} for {algo.__name__}")  # fmt: skip
    arguments(settings)
    number = settings.get("n_envs", 1)
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"setting n_envs must be a whole number of at least 1, got {number!r}")
    normalisation(settings)


def arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the algorithm's class.

    Raises:
        ValueError: A value cannot be read.
    """
    return {name: _value(name, value) for name, value in settings.items() if name not in OURS}


def normalisation(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments of `VecNormalize`; None without one.

    Raises:
        ValueError: It is neither yes nor no nor such arguments.
    """
    value = _value("normalize", settings.get("normalize", False))
    if not isinstance(value, (bool, dict)):
        raise ValueError(f"setting normalize must be true, false, or arguments of VecNormalize; got {value!r}")
    if value is False:
        return None
    discount = {"gamma": settings["gamma"]} if "gamma" in settings else {}
    return discount | (value if isinstance(value, dict) else {})


def action_noise(settings: Mapping[str, Any], space: spaces.Space[Any]) -> dict[str, Any]:
    """The argument ``action_noise`` of the algorithm's class, where the zoo's ``noise_type`` asks for one."""
    if "noise_type" not in settings:
        return {}
    spread = float(settings.get("noise_std", 0.0)) * np.ones(space.shape or ())
    return {"action_noise": NOISES[settings["noise_type"]](np.zeros_like(spread), spread)}


def policy_name(algo: type[BaseAlgorithm], space: spaces.Space[Any]) -> str:
    """The algorithm's name of its policy for observations of a space, as the zoo's entries have it.

    Raises:
        ValueError: It has none for such observations.
    """
    kind = "MultiInput" if isinstance(space, spaces.Dict) else "Cnn" if is_image_space(space) else "Mlp"
    for name in (f"{kind}Policy", f"{kind}LstmPolicy"):
        if name in algo.policy_aliases:
            return name
    raise ValueError(f"{algo.__name__} has no policy for observations {space}")


def _value(name: str, value: Any) -> Any:
    """A value, where the zoo writes some as text: schedules as in lin_3e-4, and calls of dict."""
    if name == "train_freq" and isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str):
        return value
    if value.startswith("lin_"):
        try:
            return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
        except ValueError:
            raise ValueError(f"setting {name} must be a number, or lin_NUMBER; got {value!r}") from None
    if value.lstrip().startswith(("dict(", "{")):
        try:
            return _read(ast.parse(value.strip(), mode="eval").body)
        except (SyntaxError, ValueError, AttributeError) as error:
            raise ValueError(f"setting {name} must be dict(...) of numbers, texts, lists and classes of torch.nn; got "
                             f"{value!r}: {error}") from None  # fmt: skip
    try:
        return float(value)  # PyYAML takes 3e-4 for text
    except ValueError:
        return value


def _read(node: ast.expr) -> Any:
    """An expression that nothing is called in but dict."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        if any(each.arg is None for each in node.keywords):
            raise ValueError("** is not read")
        return {each.arg: _read(each.value) for each in node.keywords}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nn":
        return getattr(nn, node.attr)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_read(each) for each in node.elts]
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(key): _read(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    return ast.literal_eval(node)
