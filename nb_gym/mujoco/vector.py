"""Many robots whose dynamics are arguments: `gym.make_vec("NBHalfCheetah-v0", num_envs=64, gain=gains)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mujoco
import numpy as np
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count
from nb_gym.context.settings import BoolArray, FloatArray, Setting, draw
from nb_gym.mujoco.batch import Batch, Threads, available_threads
from nb_gym.mujoco.env import picture_arguments
from nb_gym.mujoco.formulas import FORMULAS, Facts
from nb_gym.mujoco.observations import Blur
from nb_gym.mujoco.parameters import ContextShapes, usual
from nb_gym.mujoco.pictures import RobotScene, draw_robot
from nb_gym.mujoco.rewards import adjusted, is_usual
from nb_gym.mujoco.robot import gathered, have_warned, is_sound, warn_of_failure
from nb_gym.mujoco.setup import set_up
from nb_gym.mujoco.source import find_source
from nb_gym.rendering import FRAME_SIZE
from nb_gym.vector_base import VectorBase

_OBSERVATION = ""
"""Key of the first observation among what an episode draws; no parameter has such a name."""


class NBMujocoVectorEnv(EzPickle, VectorBase):
    """`num_envs` robots of one kind, each as `NBMujocoEnv` describes, stepped together.

    From equal seeds, contexts and actions it returns what as many `NBMujocoEnv`s would return, to the last bit,
    whatever the number of threads. Each robot has a model and data of its own. Of the seven v5 robots, threads run
    MuJoCo alone, and observations and rewards of all are computed at once; other classes are stepped whole in the
    threads, so that what their `step` shares must bear it. Autoreset, masks and seeds are those of `VectorBase`;
    episodes that no seed begins are drawn one after the other from `np_random`.

    **Context.** A context parameter may also be an array of shape `(num_envs,)`, as may the options of a reset.
    `info["context"]` holds one array of shape `(num_envs,)` per parameter, with Gymnasium's `_` masks beside them.

    **Stable-Baselines3** has vector environments of its own kind: `nb_agents.VectorEnvAdapter(envs)` is one.

    Args:
        num_envs: Number of environments, at least 1.
        source: Kind of robot, see `NBMujocoEnv`.
        episode_steps: Decisions per episode, at least 1; None for as many as the source's id has, else 1000.
        max_episode_steps: Lower limit than `episode_steps`, as Gymnasium passes it.
        threads: Number of threads, at least 1; None for as many as there are processor cores for this process.
        autoreset_mode: Member of `AutoresetMode`, or its value.
        render_mode: None or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.
        **kwargs: Context parameters, and arguments of the robot's class.

    Raises:
        DependencyNotInstalled: If MuJoCo is missing.
        TypeError: If an argument's name is unknown.
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    # `per_env_kwargs`: keywords that may differ between the environments, with the shape of one value.
    metadata: dict[str, Any] = {  # noqa: RUF012  (each instance has its own)
        "render_modes": ["rgb_array"],
        "render_fps": 20,
        "per_env_kwargs": ContextShapes(),
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        source: Any,
        episode_steps: int | None = None,
        max_episode_steps: int | None = None,
        threads: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
        **kwargs: Any,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__", "kwargs")}
        EzPickle.__init__(self, **arguments, **kwargs)
        found = find_source(source)
        VectorBase.__init__(
            self,
            num_envs,
            parse_count("episode_steps", found.decisions if episode_steps is None else episode_steps),
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
            frame_size=frame_size,
        )
        self._threads = Threads(available_threads() if threads is None else parse_count("threads", threads))
        self._setup = set_up(found, self.num_envs, picture_arguments(render_mode, frame_size), kwargs)
        self._settings = self._setup.settings
        self._set_spaces(*self._setup.spaces)
        robots, formula = self._setup.robots, FORMULAS.get(found.robot_class)
        self.metadata = self.metadata | {"render_fps": round(1.0 / robots[0].env.dt)}
        self._formula = formula(robots[0].env) if formula else None
        self._batch = Batch([robot.env for robot in robots], self._threads, after=bool(formula and formula.forces))
        self._warnings = [robot.warnings[None] for robot in robots]
        self._context: dict[str, FloatArray] = {}
        self._named: dict[str, BoolArray] = {}  # where a parameter is set, and not merely as usual
        self._blurs: dict[int, Blur] = {}
        self._shown = np.zeros(self.observation_space.shape or (), dtype=self._setup.spaces[0].dtype)
        self._decision: Facts = {}
        self._reported: dict[str, BoolArray] = {}  # where an entry of the decision's info is one, if not everywhere

    def _parse_options(self, options: Any) -> Mapping[str, Setting]:
        return self._setup.parse_options(options, self.num_envs)

    def _draw(
        self, settings: Mapping[str, Any], rng: np.random.Generator, index: int | NDArray[np.int64], size: int | None
    ) -> dict[str, Any]:
        """Draw context and start of one episode after the other; the robot's class draws the start as it begins."""
        if isinstance(index, np.ndarray):
            drawn = [self._begin_one(settings, rng, int(i)) for i in index]
            return {name: np.array([each[name] for each in drawn]) for name in drawn[0]}
        return self._begin_one(settings, rng, int(index))

    def _begin_one(self, settings: Mapping[str, Any], rng: np.random.Generator, i: int) -> dict[str, Any]:
        context, robot = (
            {name: float(draw(setting, rng, i)) for name, setting in settings.items()},
            self._setup.robots[i],
        )
        observation, _ = robot.begin(context, rng)
        blur = self._setup.sensors.blur(context, rng)
        self._blurs.pop(i, None)
        if blur is not None:
            self._blurs[i] = blur
        if self._formula is None and rng is self.np_random:
            robot.env.np_random = rng.spawn(1)[0]  # steps in threads would draw from a common one in any order
        return {**context, _OBSERVATION: observation if blur is None else blur(observation)}

    def _begin(self, index: NDArray[np.int64], drawn: dict[str, Any]) -> None:
        self._shown = self._shown.copy()
        self._shown[index] = drawn.pop(_OBSERVATION)
        # What an earlier reset's options named stays while an episode goes on that it was named for.
        for name in [*drawn, *(self._context.keys() - drawn.keys())]:
            column = np.full(self.num_envs, usual(name)) if name not in self._context else self._context[name].copy()
            column[index] = drawn.get(name, usual(name))
            column.flags.writeable = False
            named = self._named.setdefault(name, np.zeros(self.num_envs, dtype=np.bool_))
            named[index] = name in drawn
            self._context[name] = column
            if not named.any():
                del self._context[name], self._named[name]
        self._pays_as_usual = not self._setup.pays_velocity or bool(np.all(is_usual(self._context)))

    def _advance(self, actions: NDArray[Any]) -> tuple[FloatArray, BoolArray | None]:
        running = self._everywhere if self._over is None else ~self._over
        actions = np.ascontiguousarray(actions)  # sums along other strides round otherwise
        over: BoolArray | None
        self._reported = {}
        self._batch.forget()  # whoever holds the data may have changed them
        if self._formula is None:
            observations, rewards, over, facts = self._step_each(actions, running)
        else:
            before = self._formula.before(self._batch)
            self._batch.simulate(actions, None if self._over is None else running)
            observations, rewards, over, facts = self._formula.outcome(self._batch, actions, before)
        broken = self._broken(running)
        if not self._pays_as_usual:
            rewards = adjusted(rewards, facts, self._context, self._setup.forward_weight)
        for i, blur in self._blurs.items():
            if running[i] and not broken[i]:
                observations[i] = blur(observations[i])
        if broken.any():
            self._truncate(broken, observations, rewards, over)
            self._reported = {name: self._reported.get(name, self._everywhere) & ~broken for name in facts}
            facts["simulation_failed"], self._reported["simulation_failed"] = broken, broken
        self._shown, self._decision = observations, facts
        return rewards, over

    def _broken(self, running: BoolArray) -> BoolArray:
        """Find the running robots whose simulation has failed in this decision."""
        states, warned = (self._batch.read("qpos"), self._batch.read("qvel")), np.concatenate(self._warnings)
        if not warned.any() and all(np.abs(each).max() < mujoco.mjMAXVAL for each in states):  # the usual case
            return np.zeros(self.num_envs, dtype=np.bool_)
        return (~is_sound(*states) | have_warned(warned)) & running

    def _step_each(
        self, actions: NDArray[Any], running: BoolArray
    ) -> tuple[NDArray[Any], FloatArray, BoolArray, Facts]:
        """Step robot by robot where the class has no formula."""
        chosen = np.flatnonzero(running).tolist()
        outcomes: list[Any] = [None] * self.num_envs

        def work(shared: Iterator[int]) -> None:
            for i in shared:
                outcomes[i] = self._setup.robots[i].step(actions[i])

        self._threads.share(work, chosen)
        self._batch.forget()
        observations, rewards = self._shown.copy(), np.zeros(self.num_envs)
        over, cut = np.zeros((2, self.num_envs), dtype=np.bool_)
        told: list[dict[str, Any]] = [{} for _ in outcomes]
        for i in chosen:
            observations[i], rewards[i], over[i], cut[i], told[i] = outcomes[i]
        self._cut = cut if cut.any() else None
        facts, self._reported = gathered(told)
        return observations, rewards, over, facts

    def _truncate(
        self, broken: BoolArray, observations: NDArray[Any], rewards: FloatArray, over: BoolArray | None
    ) -> None:
        """End the episodes whose simulation failed, with the observation before and no reward."""
        elapsed = np.broadcast_to(self._elapsed, self.num_envs)
        for i in np.flatnonzero(broken):
            which = f"environment {i} of {type(self._setup.robots[0].env).__name__}"
            warn_of_failure(which, self._context_of(int(i)), int(elapsed[i]) + 1)
        observations[broken], rewards[broken] = self._shown[broken], 0.0
        if over is not None:
            over[broken] = False
        self._cut = broken if self._cut is None else self._cut | broken

    def _observations(self) -> NDArray[Any]:
        return self._shown.copy()

    def _facts(self) -> dict[str, Any]:
        return {"context": dict(self._context)}

    def _told(self, made: BoolArray) -> dict[str, Any]:
        told = {name: values.copy() for name, values in self._decision.items()}
        return told | {f"_{name}": made & self._reported.get(name, self._everywhere) for name in told}

    def _scenes(self) -> list[RobotScene]:
        steps = np.broadcast_to(self._elapsed, self.num_envs)
        return [
            RobotScene(draw_robot(robot.env), self._context_of(i), int(steps[i]), float(self._returns[i]))
            for i, robot in enumerate(self._setup.robots)
        ]

    def _context_of(self, i: int) -> dict[str, float]:
        return {name: float(column[i]) for name, column in self._context.items()}

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads, and close what draws; may be called again."""
        super().close_extras(**kwargs)
        self._threads.close()
        for robot in self._setup.robots:
            robot.env.close()

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The names of the parts that each parameter may name, by the parameter."""
        return self._setup.parameters.parts

    @property
    def context(self) -> dict[str, FloatArray]:
        """The context parameters in force, read-only arrays of shape `(num_envs,)`; `ResetNeeded` before a reset."""
        self._check_begun("context")
        return dict(self._context)

    @property
    def robots(self) -> list[Any]:
        """The environments of Gymnasium's that are simulated; their `model` and `data` are MuJoCo's."""
        return [robot.env for robot in self._setup.robots]
