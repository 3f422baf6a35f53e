"""Adaptation in a few episodes, and adaptation that is watched over."""
