"""One step of a student as a module: observation and window in, action and the next window out."""

from __future__ import annotations

import copy

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from nb_agents.inference.student import StudentPolicy
from nb_agents.inference.window import Window, flat_actions, seen

STATE = ("rows", "last_obs", "last_action", "kept")


class StudentStep(nn.Module):
    """A module that computes ``student.predict(obs, state, episode_start, deterministic=True)``.

    Inputs, all with a batch axis of ``n`` environments, are ``obs``, shape ``(n, n_observed)``; the state, ``rows``,
    ``last_obs``, ``last_action`` and ``kept``, in the shapes of `nb_agents.inference.window.Window`; and
    ``episode_start``, booleans of shape ``(n,)``. Outputs are ``action``, in the action space's dtype, and the next
    state, ``next_`` before each name. Where ``episode_start`` is true the state is of no importance.

    Attributes:
        inputs: Names of the inputs.
        outputs: Names of the outputs.

    Args:
        student: The student, which is left as it is.
        normalize: Whether ``obs`` is raw where the teacher had a `VecNormalize`, as for the student itself; if not, it
            is standardised already. The state holds standardised observations.

    Raises:
        TypeError: If its actions are neither of a `Box` nor `Discrete`.
    """

    def __init__(self, student: StudentPolicy, *, normalize: bool = True) -> None:
        super().__init__()
        if not isinstance(student.action_space, (spaces.Box, spaces.Discrete)):
            raise TypeError(f"student must act in a Box or Discrete space, got {student.action_space}")
        self.student = copy.deepcopy(student).to("cpu")
        self.student.set_training_mode(False)
        if not normalize:
            self.student.normalize = None
        self.inputs = ["obs", *STATE, "episode_start"]
        self.outputs = ["action", *(f"next_{name}" for name in STATE)]
        self._dtype = torch.as_tensor(np.zeros(0, student.action_space.dtype)).dtype

    def example(self, batch: int = 2) -> tuple[torch.Tensor, ...]:
        """Inputs of the beginning of ``batch`` episodes, in the order of `inputs`."""
        state = Window(*(torch.as_tensor(part) for part in self.student.start(batch)))
        return state.observation.clone(), *state, torch.ones(batch, dtype=torch.bool)

    def forward(self, obs: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Actions, and the state for the next step."""
        *parts, starts = state
        before = Window(*parts)
        acted = ~(torch.isnan(before.action).any(dim=1) | starts)
        window = seen(before, self.student.shown(obs), acted, self.student.encoder.keep)
        actions = self.student.act(window)
        kept = flat_actions(actions, self.student.action_space)
        return actions.to(self._dtype), *window._replace(action=kept)
