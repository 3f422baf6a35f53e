"""What Gymnasium's v5 classes compute of one robot's data, computed of many robots' data at once.

Each formula is tested to give the class's own numbers to the last bit, and reads its weights and limits from an
instance of the class. A class without a formula is stepped robot by robot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv, mass_center
from gymnasium.envs.mujoco.inverted_double_pendulum_v5 import InvertedDoublePendulumEnv
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from nb_gym.mujoco.batch import Array, Batch

Facts = dict[str, Array]


class Formula(ABC):
    """Observation, reward and end of many robots of one class.

    Attributes:
        forces: Whether external forces are read, which MuJoCo computes only on demand.

    Args:
        env: An instance of the class.
    """

    forces: ClassVar[bool] = False

    def __init__(self, env: Any) -> None:
        self.env = env

    def before(self, batch: Batch) -> Any:
        """Read what the outcome is measured against, before the simulation."""
        return None

    @abstractmethod
    def outcome(self, batch: Batch, actions: Array, before: Any) -> tuple[Array, Array, Array | None, Facts]:
        """Compute the outcome of a decision.

        Args:
            batch: The robots, after the simulation.
            actions: Actions, shape `(num_envs, n)`.
            before: What `before` returned.

        Returns:
            Observations; rewards and terminations (None if none can), each of shape `(num_envs,)`; and the info.
        """


class _Runner(Formula):
    """A robot in a vertical plane that is paid for its forward velocity."""

    def before(self, batch: Batch) -> Array:
        return batch.read("qpos")[:, 0]

    def outcome(self, batch: Batch, actions: Array, before: Array) -> tuple[Array, Array, Array | None, Facts]:
        env, qpos, qvel = self.env, batch.read("qpos"), batch.read("qvel")
        x_velocity = (qpos[:, 0] - before) / env.dt
        observed = qpos[:, 1:] if env._exclude_current_positions_from_observation else qpos
        observations = np.concatenate([observed, self.velocities(qvel)], axis=1)
        forward = env._forward_reward_weight * x_velocity
        control = env._ctrl_cost_weight * np.square(actions).sum(axis=1)
        facts = {
            "x_position": qpos[:, 0].copy(),
            "x_velocity": x_velocity,
            "reward_forward": forward,
            "reward_ctrl": -control,
        }
        healthy = self.healthy(qpos, qvel)
        if healthy is None:
            return observations, forward - control, None, facts
        survive = healthy * env._healthy_reward
        facts |= {"z_distance_from_origin": qpos[:, 1] - env.init_qpos[1], "reward_survive": survive}
        return observations, forward + survive - control, ~healthy & env._terminate_when_unhealthy, facts

    def velocities(self, qvel: Array) -> Array:
        return np.clip(qvel, -10, 10)

    def healthy(self, qpos: Array, qvel: Array) -> Array | None:
        (min_z, max_z), (min_angle, max_angle) = self.env._healthy_z_range, self.env._healthy_angle_range
        z, angle = qpos[:, 1], qpos[:, 2]
        upright: Array = (min_z < z) & (z < max_z) & (min_angle < angle) & (angle < max_angle)
        return upright


class _HalfCheetah(_Runner):
    def velocities(self, qvel: Array) -> Array:
        return qvel

    def healthy(self, qpos: Array, qvel: Array) -> None:
        return None


class _Hopper(_Runner):
    def healthy(self, qpos: Array, qvel: Array) -> Array | None:
        low, high = self.env._healthy_state_range
        state = np.concatenate([qpos, qvel], axis=1)[:, 2:]
        upright: Any = super().healthy(qpos, qvel)
        healthy: Array = upright & ((low < state) & (state < high)).all(axis=1)
        return healthy


class _Walker(Formula):
    """A robot in space that is paid for its velocity along x and pays for the forces of its contacts."""

    forces = True

    def outcome(self, batch: Batch, actions: Array, before: Array) -> tuple[Array, Array, Array | None, Facts]:
        env, qpos, qvel = self.env, batch.read("qpos"), batch.read("qvel")
        velocity = (self.before(batch) - before) / env.dt
        forward = env._forward_reward_weight * velocity[:, 0]
        control = env._ctrl_cost_weight * self.effort(batch, actions)
        healthy = self.healthy(qpos, qvel)
        survive = healthy * env._healthy_reward
        forces = batch.read("cfrc_ext")
        contact, shown = self.contact(forces.reshape(len(forces), -1))
        facts = {
            "x_position": qpos[:, 0].copy(),
            "y_position": qpos[:, 1].copy(),
            "distance_from_origin": np.array([np.linalg.norm(each, ord=2) for each in qpos[:, :2]]),
            "x_velocity": velocity[:, 0],
            "y_velocity": velocity[:, 1],
            "reward_forward": forward,
            "reward_ctrl": -control,
            "reward_contact": -contact,
            "reward_survive": survive,
        }
        position = qpos[:, 2:] if env._exclude_current_positions_from_observation else qpos
        observations = np.concatenate([position, qvel, *self.more(batch, shown)], axis=1)
        over = ~healthy & env._terminate_when_unhealthy
        return observations, (forward + survive) - (control + contact), over, facts

    @abstractmethod
    def effort(self, batch: Batch, actions: Array) -> Array: ...

    @abstractmethod
    def healthy(self, qpos: Array, qvel: Array) -> Array: ...

    @abstractmethod
    def contact(self, forces: Array) -> tuple[Array, Array]: ...

    @abstractmethod
    def more(self, batch: Batch, forces: Array) -> list[Array]: ...


class _Ant(_Walker):
    def before(self, batch: Batch) -> Array:
        body = self.env.model.body(self.env._main_body).id
        return batch.read("xpos")[:, body, :2]

    def effort(self, batch: Batch, actions: Array) -> Array:
        effort: Array = np.square(actions).sum(axis=1)
        return effort

    def healthy(self, qpos: Array, qvel: Array) -> Array:
        low, high = self.env._healthy_z_range
        finite = np.isfinite(qpos).all(axis=1) & np.isfinite(qvel).all(axis=1)
        healthy: Array = finite & (low <= qpos[:, 2]) & (qpos[:, 2] <= high)
        return healthy

    def contact(self, forces: Array) -> tuple[Array, Array]:
        clipped = np.clip(forces, *self.env._contact_force_range)
        return self.env._contact_cost_weight * np.square(clipped).sum(axis=1), clipped

    def more(self, batch: Batch, forces: Array) -> list[Array]:
        return [forces[:, 6:]] if self.env._include_cfrc_ext_in_observation else []


class _Humanoid(_Walker):
    def before(self, batch: Batch) -> Array:
        center: Any = mass_center
        return np.array([center(*each) for each in zip(batch.models, batch.datas, strict=True)])

    def effort(self, batch: Batch, actions: Array) -> Array:
        effort: Array = np.square(batch.read("ctrl")).sum(axis=1)
        return effort

    def healthy(self, qpos: Array, qvel: Array) -> Array:
        low, high = self.env._healthy_z_range
        healthy: Array = (low < qpos[:, 2]) & (qpos[:, 2] < high)
        return healthy

    def contact(self, forces: Array) -> tuple[Array, Array]:
        cost = self.env._contact_cost_weight * np.square(forces).sum(axis=1)
        return np.clip(cost, *self.env._contact_cost_range), forces

    def more(self, batch: Batch, forces: Array) -> list[Array]:
        env, n = self.env, len(forces)
        shown = []
        if env._include_cinert_in_observation is True:
            shown.append(batch.read("cinert")[:, 1:].reshape(n, -1))
        if env._include_cvel_in_observation is True:
            shown.append(batch.read("cvel")[:, 1:].reshape(n, -1))
        if env._include_qfrc_actuator_in_observation is True:
            shown.append(batch.read("qfrc_actuator")[:, 6:])
        if env._include_cfrc_ext_in_observation is True:
            shown.append(forces[:, 6:])
        return shown

    def outcome(self, batch: Batch, actions: Array, before: Array) -> tuple[Array, Array, Array | None, Facts]:
        observations, rewards, over, facts = super().outcome(batch, actions, before)
        facts |= {f"tendon_{name}": batch.read(f"ten_{name}").copy() for name in ("length", "velocity")}
        return observations, rewards, over, facts


class _InvertedDoublePendulum(Formula):
    def outcome(self, batch: Batch, actions: Array, before: Any) -> tuple[Array, Array, Array | None, Facts]:
        qpos, qvel, tip = batch.read("qpos"), batch.read("qvel"), batch.read("site_xpos")[:, 0]
        x, y = tip[:, 0], tip[:, 2]
        over = y <= 1
        distance = 0.01 * _squares(x) + _squares(y - 2)
        velocity = 1e-3 * _squares(qvel[:, 1]) + 5e-3 * _squares(qvel[:, 2])
        alive = self.env._healthy_reward * ~over
        force = np.clip(batch.read("qfrc_constraint"), -10, 10)[:, :1]
        shown = [qpos[:, :1], np.sin(qpos[:, 1:]), np.cos(qpos[:, 1:]), np.clip(qvel, -10, 10), force]
        facts = {"reward_survive": alive, "distance_penalty": -distance, "velocity_penalty": -velocity}
        return np.concatenate(shown, axis=1), alive - distance - velocity, over, facts


class _Reacher(Formula):
    def outcome(self, batch: Batch, actions: Array, before: Any) -> tuple[Array, Array, Array | None, Facts]:
        env, qpos, qvel, places = self.env, batch.read("qpos"), batch.read("qvel"), batch.read("xpos")
        way = places[:, env.model.body("fingertip").id] - places[:, env.model.body("target").id]
        angles = qpos[:, :2]
        # The norms are Gymnasium's, one by one: a sum over rows may round otherwise than its dot product.
        distance = -np.array([np.linalg.norm(each) for each in way]) * env._reward_dist_weight
        control = -np.square(actions).sum(axis=1) * env._reward_control_weight
        shown = [np.cos(angles), np.sin(angles), qpos[:, 2:], qvel[:, :2], way[:, :2]]
        facts = {"reward_dist": distance, "reward_ctrl": control}
        return np.concatenate(shown, axis=1), distance + control, None, facts


def _squares(numbers: Array) -> Array:
    """Squares as Gymnasium computes them: a NumPy number's power may round otherwise than an array's."""
    return np.array([each**2 for each in numbers])


FORMULAS: dict[type[Any], type[Formula]] = {
    HalfCheetahEnv: _HalfCheetah,
    HopperEnv: _Hopper,
    Walker2dEnv: _Runner,
    AntEnv: _Ant,
    HumanoidEnv: _Humanoid,
    InvertedDoublePendulumEnv: _InvertedDoublePendulum,
    ReacherEnv: _Reacher,
}
"""By the class itself: a subclass may compute something else."""
