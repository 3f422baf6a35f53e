"""peft's own files: that peft reads what we write, that we read what peft writes, and nothing that does not fit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import safetensors.torch
import torch

from nb_agents import Battery, FingerprintError
from nb_agents.battery.peft_folder import CONFIG, WEIGHTS
from tests.nb_agents.adapters.models import PLAIN, changed, make, make_plain, outputs, shake, state


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Any, Battery, Path]:
    """A model, its battery with a set, and the folder that this was written to."""
    model = make(rank=2, lora_alpha=3.0)
    shake(model.policy)
    battery = Battery(model, "lora")
    battery.capture("a")
    battery.export("a", tmp_path / "a")
    return model, battery, tmp_path / "a"


@pytest.mark.parametrize("name", PLAIN)
def test_pefts_own_loader_gives_the_same_outputs(name: str, tmp_path: Path) -> None:
    model = make(name)
    for gate in model.policy.gates.values():
        assert gate.gate().eq(1).all()
    with torch.no_grad():
        for key, parameter in model.policy.named_parameters():
            if ".lora_B." in key:
                parameter.normal_(generator=torch.Generator().manual_seed(len(key)))
    battery = Battery(model, "lora")
    battery.capture("a")
    battery.export("a", tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted([CONFIG, WEIGHTS])
    plain = make_plain(name)
    peft.PeftModel.from_pretrained(plain.policy, str(tmp_path / "a"))
    assert np.array_equal(outputs(plain), outputs(model))


def test_there_and_back(exported: Any) -> None:
    _, battery, folder = exported
    battery.add_exported(folder, "back", {"from": "peft"})
    assert torch.equal(battery["back"], battery["a"])
    assert battery.metadata("back") == {"from": "peft"}


def test_what_peft_wrote_is_read(exported: Any, tmp_path: Path) -> None:
    _, battery, folder = exported
    by_peft = peft.PeftModel.from_pretrained(copy.deepcopy(make_plain().policy), str(folder))
    by_peft.save_pretrained(tmp_path / "theirs")
    battery.add_exported(tmp_path / "theirs", "theirs")
    assert torch.equal(battery["theirs"], battery["a"])


def test_nothing_is_written_over(exported: Any, tmp_path: Path) -> None:
    _, battery, folder = exported
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="folder must not be there yet"):
        battery.export("a", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    with pytest.raises(FileNotFoundError):
        battery.export("a", tmp_path / "none" / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "no temporary folders"


def settings(folder: Path, **changes: Any) -> None:
    found = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(found | changes))


def rewrite(folder: Path, change: Any) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    safetensors.torch.save_file(change(tensors), folder / WEIGHTS)


DAMAGE: dict[str, tuple[Any, str]] = {
    "rank": (lambda f: settings(f, r=3), "its r and lora_alpha are 3 and 3.0, not 2 and 3.0"),
    "alpha": (lambda f: settings(f, lora_alpha=8), "its r and lora_alpha are 2 and 8, not 2 and 3.0"),
    "kind": (lambda f: settings(f, peft_type="IA3"), "its peft_type is 'IA3', not 'LORA'"),
    "dora": (lambda f: settings(f, use_dora=True), "settings that a policy's adapters do not: {'use_dora': True}"),
    "no json": (lambda f: (f / CONFIG).write_text("{"), "JSONDecodeError"),
    "a bit": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1] + b"\1"), "agree with its digest"),
    "cut": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-8]), "is not a whole file of k-sets"),
    "layers": (lambda f: rewrite(f, lambda t: {k.replace("action_net", "other"): v for k, v in t.items()}), "others"),
    "shapes": (lambda f: rewrite(f, lambda t: {k: v.T.contiguous() for k, v in t.items()}), "has shape"),
    "values": (lambda f: rewrite(f, lambda t: {k: v / 0 for k, v in t.items()}), "k of 'b' must be finite"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_does_not_fit_is_refused_and_changes_nothing(how: str, exported: Any) -> None:
    model, battery, folder = exported
    damage, message = DAMAGE[how]
    damage(folder)
    before = state(model.policy)
    with pytest.raises(ValueError, match=message):
        battery.add_exported(folder, "b")
    assert list(battery) == ["a"]
    assert not changed(model.policy, before)


def test_another_networks_files_are_refused(exported: Any, tmp_path: Path) -> None:
    model, battery, folder = exported
    with torch.no_grad():
        model.policy.action_net.get_base_layer().bias.add_(1.0)
    with pytest.raises(FingerprintError, match=r"a' was written for other weights: numbers of 'lora' mean nothing"):
        Battery(model, "lora").add_exported(folder, "b")
    with pytest.raises(FingerprintError, match="other weights"):
        battery.export("a", tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        battery.add_exported(tmp_path / "none", "b")


def test_a_folder_whose_weights_are_other_than_the_networks_is_refused(exported: Any) -> None:
    """PiSSA takes a part out of the weights, which the factors alone do not say."""
    _, battery, folder = exported
    settings = json.loads((folder / CONFIG).read_text()) | {"init_lora_weights": "pissa"}
    (folder / CONFIG).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="its init_lora_weights is 'pissa'"):
        battery.add_exported(folder, "theirs")
