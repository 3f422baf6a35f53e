"""The last transitions, kept by whoever acts; in the form of `nb_gym.wrappers.HistoryObservation`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch.nn.functional import one_hot


class Window(NamedTuple):
    """What a student remembers of each of ``n`` environments: arrays for its user, tensors where it computes.

    Attributes:
        rows: The last complete transitions, the latest last, shape ``(n, steps, 2 * n_observed + n_acted + 1)``:
            observation, action, change of the observation, and 1; zeros where there is none.
        observation: The last observation, shape ``(n, n_observed)``.
        action: What was done then, shape ``(n, n_acted)``; NaN where nothing was.
        kept: What its encoder keeps of each row, shape ``(n, steps, n_kept)``; zeros where there is none.
    """

    rows: Any
    observation: Any
    action: Any
    kept: Any


def seen(
    window: Window,
    observation: torch.Tensor,
    acted: torch.Tensor | None,
    keep: Callable[[torch.Tensor], torch.Tensor],
) -> Window:
    """The window with what the last actions have led to.

    Args:
        window: Window before, of tensors.
        observation: Observations now, shape ``(n, n_observed)``.
        acted: Whether the last action led to the observation, shape ``(n,)``: where it did not, an episode begins. None
            if it did everywhere.
        keep: See `HistoryEncoder.keep`.
    """
    before = window.observation
    latest = torch.cat([before, window.action, observation - before, before.new_ones(before.shape[0], 1)], dim=1)
    new = [
        torch.cat([old[:, 1:], last[:, None]], dim=1)
        for old, last in ((window.rows, latest), (window.kept, keep(latest[:, :-1])))
    ]
    if acted is not None:
        new = [torch.where(acted[:, None, None], each, torch.zeros_like(each)) for each in new]
    return Window(new[0], observation, window.action, new[1])


def flat_actions(actions: torch.Tensor, space: spaces.Space[Any]) -> torch.Tensor:
    """Actions as numbers, shape ``(n, n_acted)``: one-hot where they are discrete, as `gymnasium.spaces.flatten`."""
    if isinstance(space, spaces.Discrete):
        return one_hot(actions.reshape(-1).long() - int(space.start), int(space.n)).float()
    if isinstance(space, spaces.MultiDiscrete):
        parts = zip(actions.flatten(1).long().T, space.nvec.flatten(), strict=True)
        return torch.cat([one_hot(part, int(n)) for part, n in parts], dim=1).float()
    return actions.flatten(1).to(torch.float32, copy=True)  # so that no user's change of an action reaches it
