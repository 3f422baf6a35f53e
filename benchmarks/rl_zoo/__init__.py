"""What the RL Baselines3 Zoo needs to train with the benchmark's settings, see `docs/guides/rl-zoo.md`."""
