"""A reversed actuator, with MAML."""
