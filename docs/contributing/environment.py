"""Add an environment to nb_gym: dynamics and spaces only; `VectorBase` brings autoreset, masks, seeds and final info.

A mass is pushed along a line towards the origin. Its mass is the context: a number, a range, or one for each
environment. In the repository the class would get a room of its own, `nb_gym/line/`, and an entry in
`nb_gym/__init__.py`.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from nb_gym import VectorBase
from nb_gym.context.settings import Parameters, draw

PARAMETERS = Parameters(defaults={"mass": 1.0}, positive=frozenset({"mass"}), start=("x",))
DT = 0.1


class MassOnALineVectorEnv(VectorBase):
    """Masses on a line: the force is an action in [-1, 1], the reward -|x|; beyond |x| = 2 an episode terminates."""

    def __init__(self, num_envs: int = 1, *, mass: Any = 1.0, **options: Any) -> None:
        super().__init__(num_envs, decisions=50, **options)
        self._settings = PARAMETERS.parse({"mass": mass}, self.num_envs)
        self._set_spaces(gym.spaces.Box(-10, 10, (2,), np.float32), gym.spaces.Box(-1, 1, (1,), np.float32))
        self._x, self._v, self._mass = np.zeros((3, self.num_envs))

    def _parse_options(self, options: Any) -> Any:
        return PARAMETERS.parse_options(options, self._settings, self.num_envs)

    def _draw(self, settings: Any, rng: np.random.Generator, index: Any, size: int | None) -> dict[str, Any]:
        x = rng.normal(0.0, 0.1, size)
        return {"x": x} | {name: draw(setting, rng, index, size) for name, setting in settings.items()}

    def _begin(self, index: Any, drawn: dict[str, Any]) -> None:
        self._x[index], self._v[index], self._mass[index] = drawn["x"], 0.0, drawn["mass"]

    def _advance(self, actions: Any) -> tuple[Any, Any]:
        self._v += DT * np.clip(actions[:, 0], -1, 1) / self._mass
        self._x += DT * self._v
        return -np.abs(self._x), np.abs(self._x) > 2

    def _observations(self) -> Any:
        return np.stack([self._x, self._v], axis=1, dtype=np.float32)

    def _facts(self) -> dict[str, Any]:
        return {"mass": self._mass.copy()}


gym.register("MassOnALine-v0", vector_entry_point=MassOnALineVectorEnv)

if __name__ == "__main__":
    envs = gym.make_vec("MassOnALine-v0", num_envs=3, mass=np.array([1.0, 2.0, 4.0]), autoreset_mode="SameStep")
    observations, info = envs.unwrapped.reset(seed=[5, 5, 7])  # equal seeds begin equal episodes
    assert observations[0, 0] == observations[1, 0] != observations[2, 0]
    assert info["mass"].tolist() == [1.0, 2.0, 4.0]
    envs.reset(options={"x": 1.0, "mass": 0.5, "reset_mask": np.array([True, False, False])})
    for _step in range(7):  # x = 1 + 0.02 n (n + 1) / 2 with mass 0.5: beyond 2 in the tenth step
        assert not envs.step(np.ones((3, 1)))[2].any()
    for _step in range(3):
        observations, _, terminated, truncated, info = envs.step(np.ones((3, 1)))
    assert terminated.tolist() == [True, False, False]
    assert abs(info["final_obs"][0][0] - 2.1) < 1e-6
    assert info["final_info"]["mass"].tolist() == [0.5, 2.0, 4.0]
    assert info["mass"].tolist() == [1.0, 2.0, 4.0]  # options hold for one episode
    envs.reset(seed=0)
    ends = [envs.step(np.zeros((3, 1)))[3].all() for _step in range(50)]
    assert ends == [False] * 49 + [True]  # truncated after 50 decisions, which the spec says too
    assert envs.spec is not None
    assert envs.spec.max_episode_steps == 50
    print("A mass on a line: autoreset, masks, seeds and final info come from VectorBase.")
