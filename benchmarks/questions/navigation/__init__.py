"""The point navigation of the MAML paper."""
