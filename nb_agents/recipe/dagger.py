"""DAgger's collection: the learner acts, an expert says what it would have done (Ross, Gordon and Bagnell, 2011).

Labels where the learner goes, not where the expert would have gone, are what makes imitation hold over long episodes.
This file knows any Gymnasium `VectorEnv` with `Box` spaces and any expert; the caller decides what is trained on the
labels, and which episodes are put together for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.type_aliases import PolicyPredictor

from nb_agents._checks import check_number

Expert: TypeAlias = Callable[[NDArray[Any]], ArrayLike]
"""From observations ``(num_envs, ...)`` to actions ``(num_envs, ...)``, as ``lambda obs: model.predict(obs)[0]``.

An expert may know more than the learner: the caller can let it read the environment itself.
"""


class Episode(NamedTuple):
    """One labelled episode of T decisions.

    Attributes:
        states: Observation before each decision, ``(T, ...)``.
        actions: Actions taken, ``(T, ...)``.
        expert_actions: Actions that the expert would have taken, clipped to the action space, ``(T, ...)``.
        rewards: Reward of each decision, ``(T,)``.
    """

    states: NDArray[Any]
    actions: NDArray[Any]
    expert_actions: NDArray[Any]
    rewards: NDArray[np.float64]

    def returns(self, gamma: float) -> NDArray[np.float64]:
        """Discounted returns-to-go, shape ``(T,)``: R[t] = r[t] + gamma · R[t + 1], and 0 after the episode.

        Nothing is bootstrapped: the sums of a truncated episode end with it.

        Raises:
            TypeError: If ``gamma`` is not a number.
            ValueError: If it is outside [0, 1].
        """
        gamma = check_number("gamma", gamma, low=0.0, high=1.0)
        backwards = accumulate(self.rewards[::-1].tolist(), lambda later, reward: reward + gamma * later)
        return np.array(list(backwards)[::-1])


def collect(
    env: VectorEnv[Any, Any, Any],
    learner: PolicyPredictor,
    expert: Expert,
    rng: np.random.Generator,
    *,
    mixing: float = 0.0,
    seed: int | Sequence[int] | None = None,
    options: dict[str, Any] | None = None,
) -> list[Episode]:
    """Play one episode in each environment and label every state.

    Args:
        env: Any vector environment with `Box` spaces whose episodes end, in any autoreset mode.
        learner: SB3 model or policy, which acts deterministically.
        expert: Source of the labels, for every environment at every step.
        rng: Generator that decides who acts.
        mixing: Probability β in [0, 1] of DAgger, decision by decision, that the expert's action is the one taken; 1
            is behaviour cloning.
        seed: Seed of the environments' reset: one, or one for each.
        options: Options of the environments' reset.

    Returns:
        One episode for each environment.

    Raises:
        TypeError: If a space is not a `Box` or ``mixing`` not a number.
        ValueError: If ``mixing`` is out of range, or the expert gives another shape or what is not finite.
    """
    for name in ("single_observation_space", "single_action_space"):
        if not isinstance(getattr(env, name), spaces.Box):
            raise TypeError(f"{name} of env must be a Box, got {getattr(env, name)}")
    mixing = check_number("mixing", mixing, low=0.0, high=1.0)
    observations, _ = env.reset(seed=seed, options=options)  # type: ignore[arg-type]  # Gymnasium's annotation is narrower
    over = np.zeros(env.num_envs, dtype=np.bool_)
    lengths = np.zeros(env.num_envs, dtype=np.int64)
    steps = []
    while not over.all():
        labels = _labels(expert, observations, env)
        actions = labels if mixing == 1.0 else learner.predict(observations, deterministic=True)[0]
        if 0.0 < mixing < 1.0:
            by_expert = rng.random(env.num_envs) < mixing
            actions = np.where(by_expert.reshape(-1, *[1] * (labels.ndim - 1)), labels, actions)
        before = observations.copy()
        observations, rewards, terminated, truncated, _ = env.step(actions)
        steps.append((before, actions, labels, np.array(rewards, dtype=np.float64)))
        lengths += ~over
        ended = terminated | truncated
        over |= ended
        # What ended goes on, unrecorded, until the last one has; environments that do not reset themselves need help.
        if ended.any() and not over.all() and env.metadata.get("autoreset_mode") is AutoresetMode.DISABLED:
            observations, _ = env.reset(options={"reset_mask": ended})
    columns = [np.stack(column, axis=1) for column in zip(*steps, strict=True)]
    return [Episode(*(column[i, :length] for column in columns)) for i, length in enumerate(lengths)]


def _labels(expert: Expert, observations: NDArray[Any], env: VectorEnv[Any, Any, Any]) -> NDArray[Any]:
    space = env.action_space
    given = expert(observations)
    try:
        labels = np.asarray(given)
        fits = labels.shape == space.shape and labels.dtype.kind in "fiu" and np.isfinite(labels).all()
        found = f"{labels!r} of shape {labels.shape}"
    except (RuntimeError, TypeError, ValueError) as error:  # rows of unequal length, or SB3's pair (actions, states)
        fits, found = False, f"{given!r}; {error}"
    if not fits:
        raise ValueError(
            f"expert must return finite actions of shape {space.shape}, one for each environment; got {found}"
        )
    return np.clip(labels, space.low, space.high).astype(space.dtype)  # type: ignore[attr-defined]
