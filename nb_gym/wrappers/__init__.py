"""Wrappers that put the context or the last transitions into the observation, or pictures in the place of it.

`vector` has those of vector classes.
"""

from nb_gym.wrappers import vector
from nb_gym.wrappers.look import LOOKS, Look
from nb_gym.wrappers.parts import PartedBox
from nb_gym.wrappers.scalar import ContextObservation, HistoryObservation, PixelObservation

__all__ = ["LOOKS", "ContextObservation", "HistoryObservation", "Look", "PartedBox", "PixelObservation", "vector"]
