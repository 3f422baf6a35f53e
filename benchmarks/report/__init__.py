"""Contexts and conditions of the pendulum protocol in words."""
