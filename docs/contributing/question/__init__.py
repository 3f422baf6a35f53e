"""Which reference controller holds which pendulum."""
