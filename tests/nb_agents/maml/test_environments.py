"""The tasks' environments: native or single, however they reset, with any spaces and by any kind of id."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from numpy.testing import assert_array_equal

from nb_agents.maml import MAML, Environments
from nb_agents.maml.rollout import roll_out
from nb_agents.maml.tasks import make_task_envs
from nb_gym import NBPendulumVectorEnv
from tests.nb_agents.maml.goals import GOALS, make, meta_parameters, moved


def test_tasks_share_one_native_vector_env_where_its_class_can_hold_them() -> None:
    tasks = [{"A": a, "frame_skip": 10} for a in (1.0, 1.5)]
    native = make_task_envs("NBPendulum-v0", tasks, 3)
    assert isinstance(native, NBPendulumVectorEnv)
    assert_array_equal(native.reset(seed=0)[1]["context"]["A"], [1.0] * 3 + [1.5] * 3)
    for others in ([{"A": 1.0}, {"b": 0.1}], [{"frame_skip": 1}, {"frame_skip": 2}], [{"A": (1.0, 1.5)}, {"A": 1.0}]):
        assert isinstance(make_task_envs("NBPendulum-v0", others, 2), SyncVectorEnv)
    assert isinstance(
        make_task_envs("CartPole-v1", [{"sutton_barto_reward": b} for b in (True, False)], 2), SyncVectorEnv
    )


def test_native_and_single_environments_give_the_same_training() -> None:
    native = make().learn(300)
    single = MAML(
        "MlpPolicy",
        lambda **task: gym.make("Navigation2D-v0", **task),
        GOALS,
        episodes_per_task=4,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": [8, 8]},
    )
    single.learn(300)
    assert not moved(meta_parameters(native), single)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_rollouts_do_not_depend_on_the_autoreset_mode(mode: str) -> None:
    maml = make()
    goals = np.array([[0.05, 0.0], [0.5, 0.5], [0.0, -0.05], [0.4, 0.0]])
    params = maml._actor.get_vector().expand(2, -1).contiguous()
    torch.manual_seed(0)
    envs = gym.make_vec("Navigation2D-v0", 4, goal=goals, episode_steps=12, autoreset_mode="NextStep")
    reference = roll_out(envs, maml._actor, params)
    torch.manual_seed(0)
    envs = gym.make_vec("Navigation2D-v0", 4, goal=goals, episode_steps=12, autoreset_mode=mode)
    if mode == "Disabled":
        # An environment without autoreset cannot be stepped beyond an end; with one common end it never is.
        envs = gym.make_vec("Navigation2D-v0", 4, goal=goals + 9.0, episode_steps=12, autoreset_mode=mode)
        assert roll_out(envs, maml._actor, params).mask.all()
        return
    rollout = roll_out(envs, maml._actor, params)
    for name in ("mask", "terminated", "rewards", "final_observations"):
        assert torch.equal(getattr(rollout, name), getattr(reference, name))


def test_wrapped_environments_can_be_native_too() -> None:
    def scaled(num_envs: int, **task: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
        env = gym.make_vec("NBPendulum-v0", num_envs=num_envs, **task)
        return gym.wrappers.vector.TransformObservation(env, lambda observation: observation / 10)

    environments = Environments(lambda **task: gym.make("NBPendulum-v0", **task), scaled, {"A": ()})
    tasks = [{"A": 1.0, "episode_steps": 5}, {"A": 2.0, "episode_steps": 5}]
    envs = make_task_envs(environments, tasks, 2)
    assert_array_equal(envs.reset(seed=0)[1]["context"]["A"], [1.0, 1.0, 2.0, 2.0])
    maml = MAML("MlpPolicy", environments, tasks, episodes_per_task=2, seed=0, device="cpu").learn(1)
    assert maml.num_timesteps == 40


class Matrix(gym.Env[Any, Any]):
    """One step, an action of two dimensions."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Box(-1, 1, (2, 3))

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action.shape == (2, 3)
        return np.zeros(2, dtype=np.float32), self.scale * float(action.sum()), True, False, {}


def test_actions_have_the_spaces_shape() -> None:
    maml = MAML("MlpPolicy", Matrix, [{"scale": 1.0}, {"scale": -1.0}], episodes_per_task=4, seed=0, device="cpu")
    maml.learn(1)
    assert maml.adapt({"scale": 1.0}).num_timesteps == 4


def test_discrete_actions_and_a_sampler_of_tasks() -> None:
    def sampler(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
        return [{"sutton_barto_reward": bool(rng.integers(2))} for _ in range(n)]

    maml = MAML("MlpPolicy", "CartPole-v1", sampler, tasks_per_iteration=2, episodes_per_task=2, seed=0, device="cpu")
    before = meta_parameters(maml)
    maml.learn(100)
    assert moved(before, maml)
    assert maml.evaluate([{}], steps=1).shape == (2, 1, 2)


@pytest.mark.parametrize(
    "env_id", ["nb_gym:NBPendulum-v0", "nb_gym:Navigation2D-v0", "gymnasium.envs.classic_control:Pendulum-v1"]
)
def test_ids_may_name_a_module_to_import(env_id: str) -> None:
    bare = env_id.rpartition(":")[2]
    returns = [
        MAML("MlpPolicy", each, [{}, {}], episodes_per_task=2, seed=0, device="cpu").evaluate([{}], seed=1)
        for each in (env_id, bare)
    ]
    assert_array_equal(*returns)
    native = Environments.registered(env_id) is not None
    assert native == (Environments.registered(bare) is not None) == env_id.startswith("nb_gym")


def test_ids_without_a_version_are_the_newest() -> None:
    with pytest.warns(UserWarning, match="latest versioned environment"):
        newest = make_task_envs("nb_gym:NBPendulum", [{}], 2)
    assert isinstance(newest, NBPendulumVectorEnv) or isinstance(newest.unwrapped, NBPendulumVectorEnv)


def test_a_module_that_is_not_there_is_gymnasiums_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        MAML("MlpPolicy", "no_such_module:NBPendulum-v0", [{}], episodes_per_task=2)
