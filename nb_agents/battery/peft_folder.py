"""Low-rank adapters as peft's own files: a folder with ``adapter_config.json`` and ``adapter_model.safetensors``."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nb_agents.adapters.lora import acting_lora, peft_package, scale_of
from nb_agents.battery.file import safetensors_package, sealed
from nb_agents.battery.fingerprint import Fingerprint
from nb_evaluation.files import write_atomically
from nb_runtime import read_k_sets

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_PREFIX = "base_model.model."
"""Of peft's keys."""

_FORMATS = ("pt", None)
"""What the header of its weights calls them, if anything."""

_FREE = {"auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
         "lora_alpha", "lora_dropout", "peft_type", "peft_version", "r", "revision", "target_modules",
         "task_type"}  # fmt: skip
"""What a configuration may say otherwise than peft's default: rank, α and factors compute the same whatever it says."""

_STARTS = (True, False, "gaussian", "orthogonal")
"""Of peft's ``init_lora_weights`` those that leave the layers' own weights as they are."""


def write(
    folder: str | os.PathLike[str], network: nn.Module, numbers: Mapping[str, torch.Tensor], found: Fingerprint
) -> None:
    """Write a set of low-rank adapters as a new folder, at once or not at all.

    Args:
        folder: Place of the folder, where there is nothing yet.
        network: The network, whose layers' paths are those of the network without adapters.
        numbers: The factors by their paths in the network.
        found: Its fingerprint, which is kept beside the factors where peft does not look.

    Raises:
        FileExistsError: If there is something.
        ImportError: If peft or safetensors is not installed.
        OSError: If it cannot be written.
        ValueError: If the layers' adapters differ in rank or α.
    """
    rank, alpha = _rank_and_alpha(network)
    layers = [re.escape(path) for path, _ in acting_lora(network)]
    config = peft_package().LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(layers), inference_mode=True)
    tensors = {key: numbers[path].detach().cpu().contiguous() for key, path in _keys(numbers).items()}
    content = sealed(tensors, {"format": "pt"} | found.header())
    target = Path(folder)
    if os.path.lexists(target):
        raise FileExistsError(f"folder must not be there yet, got {os.fspath(folder)!r}")
    made = target.parent / f".nb-{secrets.token_hex(8)}"
    made.mkdir()
    try:
        config.save_pretrained(made)
        write_atomically(made / WEIGHTS, content)
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def read(
    folder: str | os.PathLike[str], network: nn.Module, expected: Mapping[str, nn.Parameter], found: Fingerprint
) -> dict[str, torch.Tensor]:
    """Read what `write` or peft wrote; no code from the files is run.

    Args:
        folder: The folder.
        network: The network.
        expected: Its factors by their paths.
        found: Its fingerprint.

    Returns:
        The factors of the files, in the order of ``expected``.

    Raises:
        FingerprintError: If the files say that they were written for another network or other weights.
        ImportError: If peft or safetensors is not installed.
        OSError: If a file cannot be read.
        ValueError: If one is damaged, or of another kind of adapter, rank, α, or other layers.
    """
    package, (rank, alpha) = safetensors_package(), _rank_and_alpha(network)
    with (Path(folder) / CONFIG).open("rb") as file:
        settings = file.read(os.fstat(file.fileno()).st_size)  # no more, should it be a device that never ends
    content, text, _ = read_k_sets(Path(folder) / WEIGHTS, _FORMATS)
    try:
        _check_settings(json.loads(settings), rank, alpha)
        tensors = package.torch.load(content)
        keys = _keys(expected)
        if tensors.keys() != keys.keys():
            raise ValueError(f"its layers are others: {sorted(tensors.keys() ^ keys.keys())[:4]}")
        for key, path in keys.items():
            if tensors[key].shape != expected[path].shape:
                raise ValueError(f"{key} has shape {tuple(tensors[key].shape)}, not {tuple(expected[path].shape)}")
    except Exception as error:  # what a damaged file makes the parsers raise is of any kind
        raise ValueError(
            f"{os.fspath(folder)!r} does not hold the network's low-rank adapters: {type(error).__name__}: {error}"
        ) from None
    if "architecture" in text:
        Fingerprint.of(text).check(found, f"{os.fspath(folder)!r} was written")
    return {path: tensors[key] for key, path in keys.items()}


def _check_settings(settings: Mapping[str, Any], rank: int, alpha: float) -> None:
    default = json.loads(json.dumps(peft_package().LoraConfig().to_dict(), default=str))
    if settings["peft_type"] != default["peft_type"]:
        raise ValueError(f"its peft_type is {settings['peft_type']!r}, not {default['peft_type']!r}")
    if (settings["r"], settings["lora_alpha"]) != (rank, alpha):
        raise ValueError(
            f"its r and lora_alpha are {settings['r']} and {settings['lora_alpha']}, not {rank} and {alpha}"
        )
    if (start := settings.get("init_lora_weights", True)) not in _STARTS:
        raise ValueError(f"its init_lora_weights is {start!r}, none of {_STARTS}, with which weights are the network's")
    if others := {k: v for k, v in settings.items() if k not in _FREE and v and v != default.get(k)}:
        raise ValueError(f"it has settings that a policy's adapters do not: {others}")


def _keys(paths: Mapping[str, object]) -> dict[str, str]:
    """Paths of the factors by peft's keys, which leave out the adapter's name before ``weight``."""
    return {f"{_PREFIX}{path.rsplit('.', 2)[0]}.weight": path for path in paths}


def _rank_and_alpha(network: nn.Module) -> tuple[int, float]:
    layers = [layer for _, layer in acting_lora(network)]
    found = {(int(next(iter(layer.r.values()))), scale_of(layer)) for layer in layers}
    if len(found) != 1:
        raise ValueError(f"the low-rank adapters must have one rank and one α, got (rank, α/rank) of {sorted(found)}")
    rank, scale = found.pop()
    return rank, scale * rank
