"""A policy that infers its k's from what it has just seen: the first episode in a world that it was never told of."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor

from nb_agents.inference.acting import act, acts_on_k, into_space
from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.inference.encoder import EncoderOf, HistoryEncoder
from nb_agents.inference.normalization import Normalize
from nb_agents.inference.window import Window, flat_actions, seen

OBSERVATION, HISTORY = "observation", "history"


def _arrays(window: Window) -> Window:
    return Window(*(part.cpu().numpy() for part in window))


class StudentPolicy(BasePolicy):
    """Acts on observations alone, and keeps the last transitions by itself in the ``state`` of `predict`.

    `stable_baselines3.common.evaluation.evaluate_policy` passes the state on, and so does a loop of one's own::

        state, start = None, True
        while True:
            action, state = student.predict(observation, state, episode_start=np.array([start]), deterministic=True)

    A step costs one forward pass, in which the encoder sees the latest transition alone: what it made of those before
    is kept in the state. `nb_agents.distill` makes one from a teacher whose k's are computed from the context. It takes
    observations as the environment shows them: where the teacher saw them through a `VecNormalize`, its statistics are
    a part of the student, whose state and network hold what they make of observations.

    Args:
        observation_space: Space of the observations, a `Box` of one dimension.
        action_space: Space of the actions.
        policy_class: k-gated policy, which sees observation and history.
        policy_kwargs: Its arguments beside the spaces; its ``k_net`` is an `EncoderOf`.
        normalize: What observations go through first; None if they stay as they are.
    """

    low: torch.Tensor | None
    high: torch.Tensor | None

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
        policy_class: type[BasePolicy],
        policy_kwargs: dict[str, Any],
        normalize: Normalize | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        for bound in ("low", "high"):
            ends = getattr(action_space, bound) if isinstance(action_space, spaces.Box) else None
            self.register_buffer(bound, None if ends is None else torch.as_tensor(ends), persistent=False)
        self.policy_class, self.policy_kwargs = policy_class, policy_kwargs
        self.normalize = normalize
        encoder: EncoderOf = policy_kwargs["k_net"]
        self.steps = encoder.steps
        n_observed = observation_space.shape[0]
        n_history = self.steps * (2 * n_observed + spaces.flatdim(action_space) + 1)
        self.flat = policy_kwargs.get("features_extractor_class") is not CombinedExtractor
        self.network = policy_class(self._both(observation_space, n_history), action_space, **policy_kwargs)
        self._nets = tuple(conditioned_nets(self.network))  # a tuple: they are registered below the network
        self._alone, self._said_leap = 0, False
        self._widths: list[torch.Size] = []

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
        return self._nets[0]

    @property
    def encoder(self) -> HistoryEncoder:
        """F of the history."""
        encoder: Any = self.net.k_net
        return encoder  # type: ignore[no-any-return]

    def start(self, n: int) -> Window:
        """A state in which nothing has happened yet, for ``n`` environments."""
        return _arrays(self._start(n))

    def look(self, observation: Any, state: Any, episode_start: Any = None) -> Window:
        """The state with what the observation shows of the last action; all are arrays.

        Args:
            observation: Observations, shape ``(n, n_observed)``, or one of shape ``(n_observed,)``.
            state: State that `predict` returned; None as an episode begins.
            episode_start: Whether an episode begins with the observation, shape ``(n,)``; None if nowhere.

        Raises:
            TypeError: If an observation is a dictionary.
            ValueError: If an observation has another shape or is not finite, or the state is of another student or of
                another number of environments.
        """
        with torch.no_grad():
            return _arrays(self._look(self._batch(observation), state, episode_start))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """See `BasePolicy.predict`; the state is to be handed back, or None where all episodes begin anew.

        Raises:
            TypeError: As `look`.
            ValueError: As `look`.

        Warns:
            UserWarning: If it is called again and again without a state, while no episode begins: it would forget all
                that it has seen. If the observation leaps without ``episode_start``, as from the end of an episode to
                the start of the next one. Both are said once.
        """
        batch = self._batch(observation)
        self._warn_of_no_memory(state, episode_start)
        if self.network.training:
            self.network.set_training_mode(False)
        with torch.inference_mode():
            window = self._look(batch, state, episode_start)
            self._warn_of_a_leap(window, episode_start)
            actions = self.act(window, deterministic)
            window = window._replace(action=flat_actions(actions, self.action_space))
        acted = actions.cpu().numpy()
        return (acted[0] if np.ndim(observation) == 1 else acted), _arrays(window)

    def k(self, observation: Any, state: Any, episode_start: Any = None) -> torch.Tensor:
        """The k-sets that the student acts by, shape ``(n, n_k)``: after an observation, with the state before it.

        Args and errors are those of `look`.
        """
        with torch.no_grad():
            return self._k(self._look(self._batch(observation), state, episode_start))

    def at(self, observation: Any, state: Any, episode_start: Any = None) -> Any:
        """A plain k-gated policy with the k-set that the student acts by now, for a task that stays.

        It acts on the observation alone, as the student would if it inferred this k-set in every step. It folds,
        exports, is kept in a `Battery`, and goes on learning with `train_only` in a model of its own. It is a policy of
        SB3's, and wants observations as the teacher does: standardised, where they were by a `VecNormalize`.

        Args:
            observation: Observation of one environment.
            state: State that `predict` returned before it.
            episode_start: Whether an episode begins with it.

        Raises:
            ValueError: As `look`, or if there are several environments.
        """
        rows = self.look(observation, state, episode_start).rows
        if len(rows) != 1:
            raise ValueError(f"observation must be of one environment, whose task the policy is for; got {len(rows)}")
        network: Any = self.network
        return network.at(rows.ravel())

    def shown(self, observation: torch.Tensor) -> torch.Tensor:
        """Observations as the network sees them, shape ``(n, n_observed)``, of those that the environment shows."""
        return observation if self.normalize is None else self.normalize(observation)

    def act(self, window: Window, deterministic: bool = True) -> torch.Tensor:
        """Actions, shape ``(n, *action_shape)``, of a window of tensors whose observation was the last."""
        if acts_on_k(self.network):
            actions = act(self.network, self.net, window.observation, self._k(window), deterministic)
        else:
            parts = {OBSERVATION: window.observation, HISTORY: window.rows.flatten(1)}
            both: Any = torch.cat([*parts.values()], dim=1) if self.flat else parts
            actions = self.network._predict(both, deterministic=deterministic)
        return into_space(actions, self.action_space, self.low, self.high, self.network.squash_output)

    def _k(self, window: Window) -> torch.Tensor:
        return self.net.k0 + self.encoder.of(window.kept, window.rows[:, :, -1])

    def _batch(self, observation: Any) -> NDArray[np.float32]:
        """Observations, checked, in an array that no environment writes to."""
        if isinstance(observation, Mapping):
            raise TypeError(f"observation must be an array, got a dictionary of {list(observation)}: the student sees "
                            f"what is {OBSERVATION!r} there")  # fmt: skip
        batch = np.array(observation, dtype=np.float32, ndmin=2)
        shape = self.observation_space.shape
        if batch.shape[1:] != shape:
            raise ValueError(f"observation must have shape {shape}, or such in a batch; got {np.shape(observation)}: "
                             "the student keeps the history by itself, and is told no context")  # fmt: skip
        if not np.isfinite(batch).all():
            raise ValueError(f"observation must be finite numbers, got {batch[~np.isfinite(batch).all(axis=1)][0]}")
        return batch

    def _start(self, n: int) -> Window:
        """The tensors of `start`."""
        device, width = self.encoder.mean.device, self.encoder.n_numbers + 1
        rows = torch.zeros(n, self.steps, width, device=device)
        n_acted = spaces.flatdim(self.action_space)
        observation = torch.zeros(n, width - n_acted - 1 >> 1, device=device)
        action = torch.full((n, n_acted), torch.nan, device=device)
        return Window(rows, observation, action, torch.zeros_like(self.encoder.keep(rows[:, :, :-1])))

    def _look(self, batch: NDArray[np.float32], state: Any, episode_start: Any) -> Window:
        """The tensors of `look`."""
        n, encoder = len(batch), self.encoder
        device = encoder.mean.device
        tensor = torch.from_numpy if device.type == "cpu" else partial(torch.as_tensor, device=device)
        observation = self.shown(tensor(batch))
        if state is None:
            return self._start(n)._replace(observation=observation)
        self._check_state(state, n)
        acted = None
        starts = np.asarray(False if episode_start is None else episode_start, dtype=bool)
        if starts.shape not in ((), (n,)):
            raise ValueError(f"episode_start must have shape ({n},), one for each environment; got {starts.shape}")
        if starts.any() or np.isnan(state[2]).any():
            acted = tensor(~(np.isnan(state[2]).any(axis=1) | starts))
        before = Window(*map(tensor, state))
        return seen(before, observation, acted, encoder.keep)

    def _check_state(self, state: Any, n: int) -> None:
        if not self._widths:
            self._widths = [part.shape[1:] for part in self._start(1)]
        wanted, found = [(n, *width) for width in self._widths], state
        if isinstance(state, (tuple, list)):
            found = [part.shape if isinstance(part, np.ndarray) else type(part).__name__ for part in state]
        if found != wanted:
            raise ValueError(
                f"state must be what predict returned for {n} environments, arrays of the shapes {wanted}; got {found}"
            )

    def _warn_of_a_leap(self, window: Window, episode_start: Any) -> None:
        """Say once that an episode may have begun, where it is not told when one does."""
        if self._said_leap or episode_start is not None:
            return
        n = window.observation.shape[1]
        if (window.rows[:, -1, -n - 1 : -1].abs() > self.encoder.reach[-n:]).any():
            self._said_leap = True
            warnings.warn(
                "the observation has changed by far more than in training, and episode_start was not passed: where an "
                "episode begins, pass episode_start or no state, or the student takes the change for its action's",
                stacklevel=3,
            )

    def _warn_of_no_memory(self, state: Any, episode_start: Any) -> None:
        alone = state is None and not np.any(False if episode_start is None else episode_start)
        if alone and self._alone == 1:
            warnings.warn(
                "predict was called twice without a state: a student that is not handed back the state that predict "
                "returned forgets what it has seen; pass episode_start=True where episodes begin with each call",
                stacklevel=3,
            )
        if self._alone < 2:  # said once
            self._alone = self._alone + 1 if alone else 0

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        raise NotImplementedError("a student needs its state: call predict")

    def _get_constructor_parameters(self) -> dict[str, Any]:
        spaces_of = super()._get_constructor_parameters()
        kept = {name: spaces_of[name] for name in ("observation_space", "action_space")}
        own = {"policy_class": self.policy_class, "policy_kwargs": self.policy_kwargs, "normalize": self.normalize}
        return kept | own
