"""Any Gymnasium `VectorEnv` as an SB3 `VecEnv`."""
