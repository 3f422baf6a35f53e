"""Many driven pendulums in one NumPy call: `gym.make_vec("NBPendulum-v0", num_envs=n)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nb_gym.batch import BoolArray, PendulumBatch
from nb_gym.dynamics import CHANNELS, Context, FloatArray, Value
from nb_gym.interface import VectorInterface
from nb_gym.pictures import PendulumScene
from nb_gym.rendering import FRAME_SIZE
from nb_gym.settings import (
    NoEpisodeError,
    Setting,
    draw_episode,
    make_spaces,
    parse_autoreset_mode,
    parse_context,
    parse_count,
    parse_frame_size,
    parse_mapping,
    parse_observe,
    parse_options,
    parse_render_mode,
    parse_reset_mask,
    parse_scale,
    parse_seeds,
    real_array,
    real_time_fps,
)


class NBPendulumVectorEnv(VectorInterface, VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """`num_envs` driven pendulums, each as `NBPendulumEnv` describes, stepped together.

    From equal states it returns what as many `NBPendulumEnv`s would return, to the last bit. Every array it hands
    out is the caller's to keep: none is written again.

    **Context.** A context parameter may also be an array of shape `(num_envs,)`, as may the options of a reset.
    `info["context"]` holds one array of shape `(num_envs,)` per parameter, with Gymnasium's `_` masks beside them.

    **Seeds.** `reset(seed=int)` seeds one generator, `np_random`, which serves all environments. `reset(seed=[...])`
    gives environment i the start and the context that `NBPendulumEnv.reset(seed=seed[i])` gives; None in the list
    draws from `np_random`, which is itself seeded from the list where no entry is None. Episodes after that come
    from `np_random`.

    **Autoreset.** As Gymnasium defines them: NEXT_STEP (default), SAME_STEP (with `final_obs` and `final_info`) and
    DISABLED. In every mode `reset(options={"reset_mask": mask})` resets only the environments in the mask, a boolean
    array of shape `(num_envs,)` with at least one True.

    **Stable-Baselines3** has vector environments of its own kind: `nb_agents.VectorEnvAdapter(envs)` is one.

    Args:
        num_envs: Number of environments, at least 1.
        frame_skip: Physics steps per decision, at least 1.
        episode_steps: Physics steps per episode, at least 1.
        observe: Names of the observed channels.
        reward_scale: Factor of every reward, greater than 0.
        render_mode: None or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.
        max_episode_steps: Decisions per episode at most, what `gymnasium.make` would give to a `TimeLimit`.
        autoreset_mode: An `AutoresetMode` or its value.
        **context: Context parameters, see `NBPendulumEnv`.

    Raises:
        TypeError: If a context parameter's name is unknown.
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    # `per_env_kwargs`: keywords that may differ between the environments, with the shape of one value.
    metadata: dict[str, Any] = {  # noqa: RUF012  (each instance has its own)
        "render_modes": ["rgb_array"],
        "render_fps": 100,
        "per_env_kwargs": dict.fromkeys(Context._fields, ()),
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        frame_skip: int = 1,
        episode_steps: int = 1000,
        observe: Iterable[str] = ("theta", "theta_dot"),
        reward_scale: float = 1.0,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **context: Any,
    ) -> None:
        self.num_envs = parse_count("num_envs", num_envs)
        frame_skip = parse_count("frame_skip", frame_skip)
        episode_steps = parse_count("episode_steps", episode_steps)
        if max_episode_steps is not None:
            decisions = parse_count("max_episode_steps", max_episode_steps)
            episode_steps = min(episode_steps, decisions * frame_skip)
        self.observe = parse_observe(observe)
        self.reward_scale = parse_scale("reward_scale", reward_scale)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.render_mode = parse_render_mode(render_mode, self.metadata["render_modes"])
        self._frame_size = parse_frame_size(frame_size)
        self._settings = parse_context(context, self.num_envs)
        fps = real_time_fps(self._settings, frame_skip)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode, "render_fps": fps}
        self.single_observation_space, self.single_action_space = make_spaces(self._settings, self.observe)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._batch = PendulumBatch(self.num_envs, frame_skip, episode_steps)
        self._everywhere = np.ones(self.num_envs, dtype=np.bool_)
        self._everywhere.flags.writeable = False
        # What only a picture shows: the torques in force and the sums of the rewards.
        self._torque: FloatArray = np.zeros(self.num_envs)
        self._returns: FloatArray = np.zeros(self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin new episodes, in all environments or in those of `options["reset_mask"]`.

        Args:
            seed: One seed, or one for each environment; see the class.
            options: Context parameters, `theta` (rad) and `theta_dot` (rad/s) for this episode only, and `reset_mask`.

        Returns:
            Observations of shape `(num_envs, len(observe))` and the info.

        Raises:
            ResetNeeded: If the mask leaves out environments that never began an episode.
            ValueError: If a seed or an option is not accepted; nothing has changed then.
        """
        options = parse_mapping(options)
        mask = parse_reset_mask(options.pop("reset_mask", None), self.num_envs)
        settings = parse_options(options, self._settings, self.num_envs)
        seeds = parse_seeds(seed, self.num_envs)
        if self._batch.empty and not mask.all():
            raise ResetNeeded("the first reset must begin an episode in every environment: leave reset_mask out")
        if not isinstance(seeds, list):
            super().reset(seed=seeds)
        elif None not in seeds:
            self.np_random = np.random.default_rng(cast("list[int]", seeds))
        self._begin(mask, settings, seeds if isinstance(seeds, list) else None)
        return self._observations(), {"context": self._mask_context(mask), "_context": mask}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Hold one torque in each environment for `frame_skip` physics steps, or for what is left of its episode.

        Args:
            actions: Torques, shape `(num_envs, 1)`, clipped to ±`max_torque`.

        Returns:
            Observations of shape `(num_envs, len(observe))`; sums of the rewards, terminations (all False) and
            truncations, each of shape `(num_envs,)`; and the info.

        Raises:
            ResetNeeded: If an environment has no running episode and the autoreset mode does not begin one.
            ValueError: If the actions have another shape or are not finite; the states stay as they were.
        """
        if self._batch.empty:
            raise ResetNeeded("no episode is running: call reset() before step()")
        torque = self._parse_actions(actions)
        over = self._batch.over()
        if over is not None and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"episodes are over in environments {np.flatnonzero(over).tolist()}: "
                "call reset(), or reset(options={'reset_mask': mask}) for these, before step()"
            )
        rewards = self._batch.advance(torque)
        if self.render_mode is not None:
            self._torque, self._returns = torque, self._returns + rewards
        if over is not None:  # the step after the end: NEXT_STEP begins here, whatever the action
            self._begin(over, self._settings)
        truncations = self._batch.over()
        final: dict[str, Any] = {}
        if truncations is None:
            truncations = np.zeros(self.num_envs, dtype=np.bool_)
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._final_info(truncations)
            self._begin(truncations, self._settings)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        rewards *= self.reward_scale
        return self._observations(), rewards, terminations, truncations, self._info() | final

    def _parse_actions(self, actions: Any) -> FloatArray:
        torques = real_array(actions)
        if torques.shape != (self.num_envs, 1) or not np.isfinite(torques).all():
            raise ValueError(f"actions must be finite torques, an array of shape ({self.num_envs}, 1), got {actions!r}")
        torque = torques[:, 0].astype(np.float64)  # a copy, clipped in place
        limit = self._batch.context.max_torque
        return np.clip(torque, -limit, limit, out=torque)

    def _begin(self, mask: BoolArray, settings: Mapping[str, Setting], seeds: list[int | None] | None = None) -> None:
        """Begin new episodes where `mask` is True."""
        index = np.flatnonzero(mask)
        if seeds is None:
            theta, theta_dot, context = draw_episode(settings, self.np_random, len(index), index)
        else:
            theta, theta_dot, context = self._draw_seeded(settings, seeds, index)
        self._batch.begin(index, theta, theta_dot, context)
        self._context_info = self._mask_context(self._everywhere)
        self._torque[index] = self._returns[index] = 0.0

    def _draw_seeded(
        self, settings: Mapping[str, Setting], seeds: list[int | None], index: NDArray[np.int64]
    ) -> tuple[Value, Value, Context]:
        """Draw the episodes of the environments in `index` as single environments with these seeds would."""
        rngs = [self.np_random if seeds[i] is None else seeding.np_random(seeds[i])[0] for i in index]
        drawn = [draw_episode(settings, rng, index=i) for rng, i in zip(rngs, index, strict=True)]
        theta, theta_dot, contexts = zip(*drawn, strict=True)
        columns = zip(Context._fields, zip(*contexts, strict=True), strict=True)
        context = (column[0] if isinstance(settings[name], float) else np.array(column) for name, column in columns)
        return np.array(theta), np.array(theta_dot), Context(*context)

    def _observations(self) -> NDArray[np.float32]:
        batch = self._batch
        observations = np.empty((self.num_envs, len(self.observe)), dtype=np.float32)
        for column, name in enumerate(self.observe):
            observations[:, column] = CHANNELS[name](batch.theta, batch.theta_dot, batch.steps, batch.context)
        return observations

    def _mask_context(self, mask: BoolArray) -> dict[str, Any]:
        """The context as Gymnasium's vector info has it; the values are those in force, masked or not."""
        in_force = self._batch.context._asdict()
        values = {name: np.broadcast_to(value, self.num_envs) for name, value in in_force.items()}
        return values | {f"_{name}": mask for name in in_force}

    def _info(self) -> dict[str, Any]:
        return {"context": self._context_info.copy(), "_context": self._everywhere}

    def _final_info(self, over: BoolArray) -> dict[str, Any]:
        """What SAME_STEP adds: the last observation and info of the episodes that are over."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        last = self._observations()[over]
        final_obs[over] = np.fromiter(last, dtype=object, count=len(last))
        info = {"context": self._mask_context(over), "_context": over}
        return {"final_obs": final_obs, "_final_obs": over, "final_info": info, "_final_info": over}

    def _scenes(self) -> list[PendulumScene]:
        if self._batch.empty:
            raise ResetNeeded("there is nothing to draw: call reset() before render()")
        batch, context = self._batch, self._batch.context
        push = context.torque_gain * self._torque
        columns = (batch.theta, batch.drive(), push, context.A, batch.steps, self._returns)
        shown = (np.broadcast_to(column, self.num_envs).tolist() for column in columns)
        return [PendulumScene(*values) for values in zip(*shown, strict=True)]

    @property
    def decisions(self) -> int:
        """Decisions per episode, the last of them shorter if `frame_skip` does not divide `episode_steps`."""
        return -(-self._batch.episode_steps // self._batch.frame_skip)

    @property
    def frame_skip(self) -> int:
        """Physics steps per decision; set when the environments are made."""
        return self._batch.frame_skip

    @property
    def episode_steps(self) -> int:
        """Physics steps per episode; set when the environments are made."""
        return self._batch.episode_steps

    @property
    def state(self) -> tuple[FloatArray, FloatArray]:
        """Angles θ (rad) and angular velocities θ̇ (rad/s) in full precision, each of shape `(num_envs,)`.

        As `time` and `context`, it raises `ResetNeeded` before the first reset.
        """
        self._check_begun("state")
        return self._batch.theta.copy(), self._batch.theta_dot.copy()

    @property
    def time(self) -> FloatArray:
        """Time since the start of each episode, s, shape `(num_envs,)`."""
        self._check_begun("time")
        return np.full(self.num_envs, self._batch.steps * self._batch.context.dt)

    @property
    def context(self) -> Context:
        """The context parameters in force, each a number where all environments share it, else `(num_envs,)`.

        The arrays are read-only views.
        """
        self._check_begun("context")
        values = self._batch.context
        return Context(*(v if isinstance(v, float) else np.broadcast_to(v, self.num_envs) for v in values))

    def _check_begun(self, name: str) -> None:
        if self._batch.empty:
            raise NoEpisodeError(f"there is no {name} before the first episode: call reset() first")
