"""Estimates with intervals, and figures of learning curves."""
