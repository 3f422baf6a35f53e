"""k-gated policies for Stable-Baselines3."""
