"""Any Gymnasium `VectorEnv` as an SB3 `VecEnv`."""

from nb_agents.vec_env.adapter import VectorEnvAdapter

__all__ = ["VectorEnvAdapter"]
