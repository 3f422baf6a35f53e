"""Driven pendulums for Gymnasium."""
