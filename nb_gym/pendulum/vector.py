"""Many driven pendulums in one NumPy call: `gym.make_vec("NBPendulum-v0", num_envs=n)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count, parse_scale
from nb_gym.context.settings import FloatArray, Setting, Value
from nb_gym.pendulum.batch import PendulumBatch
from nb_gym.pendulum.dynamics import CHANNELS, Context, Steps, drive
from nb_gym.pendulum.pictures import PendulumScene
from nb_gym.pendulum.settings import PARAMETERS, draw_episode, make_spaces, parse_observe, parse_options, real_time_fps
from nb_gym.rendering import FRAME_SIZE
from nb_gym.vector_base import VectorBase


class NBPendulumVectorEnv(VectorBase):
    """`num_envs` driven pendulums, each as `NBPendulumEnv` describes, stepped together.

    From equal states it returns what as many `NBPendulumEnv`s would return, to the last bit. Autoreset, masks and seeds
    are those of `VectorBase`.

    **Context.** A context parameter may also be an array of shape `(num_envs,)`, as may the options of a reset.
    `info["context"]` holds one array of shape `(num_envs,)` per parameter, with Gymnasium's `_` masks beside them.

    **Stable-Baselines3** has vector environments of its own kind: `nb_agents.VectorEnvAdapter(envs)` is one.

    Args:
        num_envs: Number of environments, at least 1.
        frame_skip: Physics steps per decision, at least 1.
        episode_steps: Physics steps per episode, at least 1.
        max_episode_steps: Decisions per episode at most, what `gymnasium.make` would give to a `TimeLimit`.
        observe: Names of the observed channels.
        reward_scale: Factor of every reward, greater than 0.
        autoreset_mode: Member of `AutoresetMode`, or its value.
        render_mode: None or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.
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
        max_episode_steps: int | None = None,
        observe: Iterable[str] = ("theta", "theta_dot"),
        reward_scale: float = 1.0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
        **context: Any,
    ) -> None:
        frame_skip = parse_count("frame_skip", frame_skip)
        episode_steps = parse_count("episode_steps", episode_steps)
        super().__init__(
            num_envs,
            decisions=-(-episode_steps // frame_skip),  # the last one is shorter where the skip does not divide them
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
            frame_size=frame_size,
        )
        self.observe = parse_observe(observe)
        self.reward_scale = parse_scale("reward_scale", reward_scale)
        self._settings = PARAMETERS.parse(context, self.num_envs)
        self.metadata = self.metadata | {"render_fps": real_time_fps(self._settings, frame_skip)}
        self._set_spaces(*make_spaces(self._settings, self.observe))
        self._batch = PendulumBatch(self.num_envs, frame_skip, min(episode_steps, self.decisions * frame_skip))
        self._whole_skip = min(frame_skip, episode_steps)  # a number that the counters hold
        self._torque: FloatArray = np.zeros(self.num_envs)  # those in force, which only a picture shows

    def _parse_options(self, options: Any) -> dict[str, Setting]:
        return parse_options(options, self._settings, self.num_envs)

    def _draw(
        self, settings: Mapping[str, Any], rng: np.random.Generator, index: int | NDArray[np.int64], size: int | None
    ) -> dict[str, Value]:
        return draw_episode(settings, rng, index, size)

    def _begin(self, index: NDArray[np.int64], drawn: dict[str, Value]) -> None:
        self._batch.begin(index, drawn.pop("theta"), drawn.pop("theta_dot"), Context(**drawn))
        self._torque[index] = 0.0

    def _advance(self, actions: NDArray[Any]) -> tuple[FloatArray, None]:
        torque = actions[:, 0].astype(np.float64)  # a copy, clipped in place
        limit = self._batch.context.max_torque
        np.clip(torque, -limit, limit, out=torque)
        rewards = self._batch.advance(torque, self._steps)
        rewards *= self.reward_scale
        if self.render_mode is not None:
            self._torque = torque
        return rewards, None

    @property
    def _steps(self) -> Steps:
        """Physics steps since the start of each episode: one number while all pendulums are at the same."""
        steps, most = self._elapsed * self._whole_skip, self._batch.episode_steps
        if isinstance(steps, int):
            return steps if steps < most else most
        return np.minimum(steps, most)

    def _observations(self) -> NDArray[np.float32]:
        batch, steps = self._batch, self._steps
        observations = np.empty((self.num_envs, len(self.observe)), dtype=np.float32)
        for column, name in enumerate(self.observe):
            observations[:, column] = CHANNELS[name](batch.theta, batch.theta_dot, steps, batch.context)
        return observations

    def _facts(self) -> dict[str, Any]:
        in_force = self._batch.context._asdict()
        return {"context": {name: np.broadcast_to(value, self.num_envs) for name, value in in_force.items()}}

    def _scenes(self) -> list[PendulumScene]:
        batch, context = self._batch, self._batch.context
        push, pull = context.torque_gain * self._torque, context.A * drive(self._steps, context)
        columns = (batch.theta, pull, push, context.A, self._steps, self._returns / self.reward_scale)
        shown = (np.broadcast_to(column, self.num_envs).tolist() for column in columns)
        return [PendulumScene(*values) for values in zip(*shown, strict=True)]

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
        return np.full(self.num_envs, self._steps * self._batch.context.dt)

    @property
    def context(self) -> Context:
        """The context parameters in force, each a number where all environments share it, else `(num_envs,)`.

        The arrays are read-only views.
        """
        self._check_begun("context")
        values = self._batch.context
        return Context(*(v if isinstance(v, float) else np.broadcast_to(v, self.num_envs) for v in values))
