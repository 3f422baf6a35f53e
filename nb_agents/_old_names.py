"""Names of earlier versions: saved models and pickled networks look for their classes where those were once."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from operator import attrgetter
from types import ModuleType
from typing import Any

OLD = {
    "adaptation": "policies.train_only",
    "callbacks": "tracking.callback",
    "dagger": "recipe.dagger",
    "extra_state": "gates.extra_state",
    "fingerprint": "battery.fingerprint",
    "gates": "gates.gate",
    "history": "tracking.history",
    "k_target": "gates.k_target",
    "maml.outer": "maml.updates.base",
    "maml.ppo_clip": "maml.updates.ppo_clip",
    "maml.reptile": "maml.updates.reptile",
    "maml.trpo": "maml.updates.trpo",
    "observation_steps": "export.observation_steps",
    "optim": "policies.optim",
    "parts": "policies.parts",
    "placing": "policies.placing",
    "policies": "policies.sb3",
    "presets": "gates.presets",
    "recipe": "recipe.trainer",
    "recipe_policy": "recipe.policy",
    "vec_access": "vec_env.access",
    "vec_infos": "vec_env.infos",
}
"""Modules of this package in earlier versions, and those that hold what they held; some are folders today."""

EXPORTED = ("battery", "export", "surgery", "vec_env")
"""Folders that were modules whose names users may have imported: the package itself exports them."""

RENAMED = {
    ("maml.ppo_clip", "PPOClip"): "PPOClipUpdate",
    ("maml.reptile", "ReptileStep"): "ReptileUpdate",
    ("maml.trpo", "TRPO"): "TRPOUpdate",
    ("optim", "_blank"): "RatioMixin.blank",
    ("parts", "_blank"): "GatedPart.blank",
}
"""Old modules and names, and what the name is in the module of today."""

_PACKAGE = __name__.rpartition(".")[0]


def keep_old_names() -> None:
    """Let Python find the old names: pickle imports a module by its name, and asks it for the class."""
    for old in (*OLD, *EXPORTED):
        name = f"{_PACKAGE}.{old}"
        module = sys.modules.setdefault(name, ModuleType(name, f"Names of `{_PACKAGE}.{OLD.get(old, old)}`."))

        def find(wanted: str, old: str = old) -> Any:
            if not wanted.startswith("__"):
                place = importlib.import_module(f"{_PACKAGE}.{OLD[old]}" if old in OLD else _PACKAGE)
                with suppress(AttributeError):
                    return attrgetter(RENAMED.get((old, wanted), wanted))(place)
            raise AttributeError(f"module {_PACKAGE}.{old} has no attribute {wanted!r}")

        module.__dict__["__getattr__"] = find
