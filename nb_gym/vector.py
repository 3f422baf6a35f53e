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

from nb_gym import dynamics
from nb_gym.dynamics import CHANNELS, Context, DriveSchedule, FloatArray, Steps, Value
from nb_gym.settings import (
    Setting,
    draw_episode,
    make_spaces,
    parse_autoreset_mode,
    parse_context,
    parse_count,
    parse_observe,
    parse_options,
    parse_render_mode,
    parse_reset_mask,
    parse_seeds,
)

BoolArray = NDArray[np.bool_]
_BLOCK = 4096


class NBPendulumVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
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

    Args:
        num_envs: Number of environments, at least 1.
        frame_skip: Physics steps per decision, at least 1.
        episode_steps: Physics steps per episode, at least 1.
        observe: Names of the observed channels.
        render_mode: None or "rgb_array": the pendulums drawn as tiles of one picture.
        max_episode_steps: Decisions per episode at most, what `gymnasium.make` would give to a `TimeLimit`.
        autoreset_mode: An `AutoresetMode` or its value.
        **context: Context parameters, see `NBPendulumEnv`.

    Raises:
        TypeError: If a context parameter's name is unknown.
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012  (each instance has its own)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        frame_skip: int = 1,
        episode_steps: int = 1000,
        observe: Iterable[str] = ("theta", "theta_dot"),
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **context: Any,
    ) -> None:
        self.num_envs = parse_count("num_envs", num_envs)
        self.frame_skip = parse_count("frame_skip", frame_skip)
        self.episode_steps = parse_count("episode_steps", episode_steps)
        if max_episode_steps is not None:
            decisions = parse_count("max_episode_steps", max_episode_steps)
            self.episode_steps = min(self.episode_steps, decisions * self.frame_skip)
        self.observe = parse_observe(observe)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.render_mode = parse_render_mode(render_mode, self.metadata["render_modes"])
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self._settings = parse_context(context, self.num_envs)
        self.single_observation_space, self.single_action_space = make_spaces(self._settings, self.observe)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._channels = [CHANNELS[name] for name in self.observe]
        self._widest_torque = float(np.max(self._settings["max_torque"]))
        self._everywhere = np.ones(self.num_envs, dtype=np.bool_)
        self._everywhere.flags.writeable = False
        # A number while all pendulums are at the same step, which is the usual case and the fast one.
        self._steps: Steps = self.episode_steps
        self._theta: FloatArray
        self._theta_dot: FloatArray
        self._context: Context
        self._drive: DriveSchedule | None = None  # until the first reset

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
        options = dict(options or {})
        mask = parse_reset_mask(options.pop("reset_mask", None), self.num_envs)
        overrides = parse_options(options, self._widest_torque, self.num_envs)
        seeds = None if seed is None or isinstance(seed, (int, np.integer)) else parse_seeds(seed, self.num_envs)
        if self._drive is None and not mask.all():
            raise ResetNeeded("the first reset must begin an episode in every environment: leave reset_mask out")
        if seeds is None:
            super().reset(seed=cast("int | None", seed))
        elif None not in seeds:
            self.np_random = np.random.default_rng(cast("list[int]", seeds))
        self._begin(mask, self._settings | overrides, seeds)
        return self._observations(), self._info(mask)

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
        if self._drive is None:
            raise ResetNeeded("no episode is running: call reset() before step()")
        torque = self._parse_actions(actions)
        over = self._over()
        if over is not None and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"episodes are over in environments {np.flatnonzero(over).tolist()}: "
                "call reset(), or reset(options={'reset_mask': mask}) for these, before step()"
            )
        rewards = self._simulate(torque, self._drive)
        if over is not None:  # the step after the end: NEXT_STEP begins here, whatever the action
            self._begin(over, self._settings)
        truncations = self._over()
        final: dict[str, Any] = {}
        if truncations is None:
            truncations = np.zeros(self.num_envs, dtype=np.bool_)
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._final_info(truncations)
            self._begin(truncations, self._settings)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observations(), rewards, terminations, truncations, self._info(self._everywhere) | final

    def _parse_actions(self, actions: Any) -> FloatArray:
        torque = np.array(actions, dtype=np.float64)  # a copy, clipped in place
        if torque.shape != (self.num_envs, 1) or not np.isfinite(torque).all():
            raise ValueError(f"actions must be finite torques, an array of shape ({self.num_envs}, 1), got {actions!r}")
        torque, limit = torque[:, 0], self._context.max_torque
        return np.minimum(np.maximum(torque, np.negative(limit), out=torque), limit, out=torque)

    def _over(self) -> BoolArray | None:
        """Which episodes are over, shape `(num_envs,)`, or None if none is."""
        if isinstance(self._steps, int):
            return np.ones(self.num_envs, dtype=np.bool_) if self._steps >= self.episode_steps else None
        over: BoolArray = self._steps >= self.episode_steps
        return over if over.any() else None

    def _simulate(self, torque: FloatArray, drive: DriveSchedule) -> FloatArray:
        """Move all pendulums on by one decision; those whose episode is over stay where they are, with reward 0."""
        steps, context = self._steps, self._context
        if isinstance(steps, int):
            drives = drive(steps, min(self.frame_skip, self.episode_steps - steps))
            if not drives:
                return np.zeros(self.num_envs)
            self._theta, self._theta_dot, rewards = _simulate_blocks(
                self._theta, self._theta_dot, torque, drives, context
            )
            self._steps = steps + len(drives)
            return rewards
        total, last = np.zeros(self.num_envs), self.episode_steps - 1
        for _ in range(self.frame_skip):
            running = steps <= last
            drives = drive(np.minimum(steps, last), 1)
            theta, theta_dot, rewards = _simulate_blocks(self._theta, self._theta_dot, torque, drives, context)
            self._theta = np.where(running, theta, self._theta)
            self._theta_dot = np.where(running, theta_dot, self._theta_dot)
            total += np.where(running, rewards, 0.0)
            steps = steps + running
        self._steps = steps
        return total

    def _begin(
        self, mask: BoolArray, settings: Mapping[str, Setting], seeds: Sequence[int | None] | None = None
    ) -> None:
        """Begin new episodes where `mask` is True."""
        index = np.flatnonzero(mask)
        if seeds is None:
            theta, theta_dot, context = draw_episode(settings, self.np_random, len(index), index)
        else:
            theta, theta_dot, context = self._draw_seeded(settings, seeds, index)
        if len(index) == self.num_envs:
            self._theta, self._theta_dot = np.full(self.num_envs, theta), np.full(self.num_envs, theta_dot)
            self._steps = 0
        else:
            self._theta[index], self._theta_dot[index] = theta, theta_dot
            steps = np.where(mask, 0, self._steps)
            self._steps = int(steps[0]) if (steps == steps[0]).all() else steps
            context = Context(*(_merge(*values, mask) for values in zip(self._context, context, strict=True)))
        self._context = context
        self._context_info = {name: np.broadcast_to(v, self.num_envs) for name, v in context._asdict().items()}
        if self._drive is None or not self._drive.holds_for(context):
            self._drive = DriveSchedule(context, self.episode_steps)

    def _draw_seeded(
        self, settings: Mapping[str, Setting], seeds: Sequence[int | None], index: NDArray[np.int64]
    ) -> tuple[Value, Value, Context]:
        """Draw the episodes of the environments in `index` as single environments with these seeds would."""
        rngs = [self.np_random if seeds[i] is None else seeding.np_random(seeds[i])[0] for i in index]
        drawn = [draw_episode(settings, rng, index=i) for rng, i in zip(rngs, index, strict=True)]
        theta, theta_dot, contexts = zip(*drawn, strict=True)
        columns = zip(Context._fields, zip(*contexts, strict=True), strict=True)
        context = (column[0] if isinstance(settings[name], float) else np.array(column) for name, column in columns)
        return np.array(theta), np.array(theta_dot), Context(*context)

    def _observations(self) -> NDArray[np.float32]:
        observations = np.empty((self.num_envs, len(self._channels)), dtype=np.float32)
        for column, channel in enumerate(self._channels):
            observations[:, column] = channel(self._theta, self._theta_dot, self._steps, self._context)
        return observations

    def _info(self, mask: BoolArray) -> dict[str, Any]:
        """The info with Gymnasium's masks; the values are those in force in every environment, masked or not."""
        masks = {f"_{name}": mask for name in Context._fields}
        return {"context": self._context_info | masks, "_context": mask}

    def _final_info(self, over: BoolArray) -> dict[str, Any]:
        """What SAME_STEP adds: the last observation and info of the episodes that are over."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        last = self._observations()[over]
        final_obs[over] = np.fromiter(last, dtype=object, count=len(last))
        return {"final_obs": final_obs, "_final_obs": over, "final_info": self._info(over), "_final_info": over}

    @property
    def state(self) -> tuple[FloatArray, FloatArray]:
        """Angles θ (rad) and angular velocities θ̇ (rad/s) in full precision, each of shape `(num_envs,)`."""
        return self._theta.copy(), self._theta_dot.copy()

    @property
    def time(self) -> FloatArray:
        """Time since the start of each episode, s, shape `(num_envs,)`."""
        return np.full(self.num_envs, self._steps * self._context.dt)

    @property
    def context(self) -> Context:
        """The context parameters in force, each a number where all environments share it, else `(num_envs,)`."""
        return self._context


def _simulate_blocks(
    theta: FloatArray, theta_dot: FloatArray, torque: FloatArray, drives: Sequence[Value], context: Context
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`dynamics.simulate` on blocks of pendulums whose temporaries stay in the processor's cache.

    Beyond some 10,000 pendulums the temporaries are also so large that the C library gives their memory back to the
    system after every operation; the page faults that follow would cost more than the physics.
    """

    def simulate(part: slice) -> tuple[Value, Value, Value]:
        def take(value: Value) -> Value:
            return value[part] if isinstance(value, np.ndarray) else value

        return dynamics.simulate(
            theta[part], theta_dot[part], torque[part], [take(d) for d in drives], Context(*map(take, context))
        )

    parts = [simulate(slice(start, start + _BLOCK)) for start in range(0, len(theta), _BLOCK)]
    moved, moved_dot, rewards = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return moved, moved_dot, rewards


def _merge(old: Value, new: Value, mask: BoolArray) -> Value:
    """Replace a parameter where `mask` is True; a number stays one if nothing changes."""
    if isinstance(old, float) and isinstance(new, float) and old == new:
        return old
    merged = np.full(mask.shape, old)
    merged[mask] = new
    return merged
