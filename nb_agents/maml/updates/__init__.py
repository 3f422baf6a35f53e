"""The outer updates, one file each, and the names that `MAML` knows them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nb_agents.maml.updates.base import OuterUpdate
from nb_agents.maml.updates.ppo_clip import PPOClipUpdate
from nb_agents.maml.updates.reptile import ReptileUpdate
from nb_agents.maml.updates.trpo import TRPOUpdate

OUTER_UPDATES: Mapping[str, Callable[[], OuterUpdate]] = {
    "trpo": TRPOUpdate, "ppo": PPOClipUpdate, "reptile": ReptileUpdate,
}  # fmt: skip


def parse_outer(outer: str | OuterUpdate) -> OuterUpdate:
    """The outer update of a name, or the one that is given.

    Raises:
        TypeError: If ``outer`` is neither.
        ValueError: If there is none of that name.
    """
    accepted = f"outer must be one of {sorted(OUTER_UPDATES)} or an outer update, got {outer!r}"
    if isinstance(outer, str):
        if outer not in OUTER_UPDATES:
            raise ValueError(accepted)
        return OUTER_UPDATES[outer]()
    if isinstance(outer, type) or not isinstance(outer, OuterUpdate):
        raise TypeError(accepted)
    return outer
