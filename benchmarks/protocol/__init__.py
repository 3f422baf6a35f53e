"""One run of the pendulum protocol: specified, executed, measured."""
