"""Wrappers that put the context or the last transitions into the observation; `vector` has those of vector classes."""

from nb_gym.wrappers import vector
from nb_gym.wrappers.parts import PartedBox
from nb_gym.wrappers.scalar import ContextObservation, HistoryObservation

__all__ = ["ContextObservation", "HistoryObservation", "PartedBox", "vector"]
