"""Named k-sets of one network, kept, swapped and written to disk."""

from nb_agents.battery.battery import Battery, FingerprintError

__all__ = ["Battery", "FingerprintError"]
