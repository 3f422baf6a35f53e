"""A policy that infers its k's from what it has just seen: the first episode in a world that it was never told of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor

from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.inference.encoder import EncoderOf, HistoryEncoder
from nb_agents.inference.window import Window, empty, flat_actions, seen

OBSERVATION, HISTORY = "observation", "history"


class StudentPolicy(BasePolicy):
    """Acts on observations alone, and keeps the last transitions by itself in the ``state`` of `predict`.

    `stable_baselines3.common.evaluation.evaluate_policy` passes the state on, and so does a loop of one's own::

        state, start = None, True
        while True:
            action, state = student.predict(observation, state, episode_start=np.array([start]), deterministic=True)

    A step costs one forward pass. `nb_agents.distill` makes one from a teacher whose k's are computed from the context.

    Args:
        observation_space: Space of the observations, a `Box` of one dimension.
        action_space: Space of the actions.
        policy_class: k-gated policy, which sees observation and history.
        policy_kwargs: Its arguments beside the spaces; its ``k_net`` is an `EncoderOf`.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
        policy_class: type[BasePolicy],
        policy_kwargs: dict[str, Any],
    ) -> None:
        super().__init__(observation_space, action_space)
        self.policy_class, self.policy_kwargs = policy_class, policy_kwargs
        encoder: EncoderOf = policy_kwargs["k_net"]
        self.steps = encoder.steps
        n_observed = observation_space.shape[0]
        n_history = self.steps * (2 * n_observed + spaces.flatdim(action_space) + 1)
        self.flat = policy_kwargs.get("features_extractor_class") is not CombinedExtractor
        self.network = policy_class(self._both(observation_space, n_history), action_space, **policy_kwargs)

    def _both(self, space: spaces.Box, n_history: int) -> spaces.Space[Any]:
        """The space of what the network sees."""
        high = np.full(n_history, np.inf, dtype=np.float32)
        low = -high
        if not self.flat:
            return spaces.Dict({OBSERVATION: space, HISTORY: spaces.Box(low, high, dtype=np.float32)})
        both = spaces.Box(
            np.concatenate([space.low, low], dtype=np.float32), np.concatenate([space.high, high], dtype=np.float32)
        )
        n = space.shape[0]
        both.parts = {OBSERVATION: slice(0, n), HISTORY: slice(n, n + n_history)}  # type: ignore[attr-defined]
        return both

    @property
    def net(self) -> ConditionedNet:
        """The gated layers."""
        return next(conditioned_nets(self.network))

    @property
    def encoder(self) -> HistoryEncoder:
        """F of the history."""
        encoder: Any = self.net.k_net
        return encoder  # type: ignore[no-any-return]

    def start(self, n: int) -> Window:
        """A state in which nothing has happened yet, for ``n`` environments."""
        return empty(n, self.steps, self.observation_space.shape[0], self.action_space)  # type: ignore[index]

    def look(self, observation: NDArray[Any], state: Any, episode_start: Any = None) -> Window:
        """The state with what the observation shows of the last action.

        Args:
            observation: Observations, shape ``(n, n_observed)``.
            state: State that `predict` returned; None as an episode begins.
            episode_start: Whether an episode begins with the observation, shape ``(n,)``; None if nowhere.

        Raises:
            ValueError: If the state is of another student or of another number of environments.
        """
        n = len(observation)
        window = self.start(n) if state is None else Window(*state)
        expected = self.start(n).rows.shape
        if np.shape(window.rows) != expected:
            raise ValueError(f"state must be what predict returned for {n} environments, with rows of the shape "
                             f"{expected}; got {np.shape(window.rows)}")  # fmt: skip
        starts = np.zeros(n, dtype=bool)
        starts[:] = False if episode_start is None else episode_start
        return seen(window, np.asarray(observation, dtype=np.float32), starts)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """See `BasePolicy.predict`; the state is to be handed back, or None where all episodes begin anew."""
        single = np.shape(observation) == self.observation_space.shape
        batch = np.asarray(observation)[None] if single else np.asarray(observation)
        if batch.shape[1:] != self.observation_space.shape:
            raise ValueError(f"observation must have shape {self.observation_space.shape}, or such in a batch; got "
                             f"{np.shape(observation)}")  # fmt: skip
        window = self.look(batch, state, episode_start)
        parts = {OBSERVATION: window.observation, HISTORY: window.rows.reshape(len(batch), -1)}
        both: Any = np.concatenate([*parts.values()], axis=1) if self.flat else parts
        actions, _ = self.network.predict(both, deterministic=deterministic)
        window = window._replace(action=flat_actions(actions, self.action_space))
        return (actions[0] if single else actions), window

    def k(self, observation: Any, state: Any, episode_start: Any = None) -> torch.Tensor:
        """The k-sets that the student acts by, shape ``(n, n_k)``: after an observation, with the state before it."""
        window = self.look(np.atleast_2d(observation), state, episode_start)
        histories = torch.as_tensor(window.rows.reshape(len(window.rows), -1), device=self.device)
        with torch.no_grad():
            return self.net.k_sets(histories)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        raise NotImplementedError("a student needs its state: call predict")

    def _get_constructor_parameters(self) -> dict[str, Any]:
        spaces_of = super()._get_constructor_parameters()
        kept = {name: spaces_of[name] for name in ("observation_space", "action_space")}
        return kept | {"policy_class": self.policy_class, "policy_kwargs": self.policy_kwargs}
