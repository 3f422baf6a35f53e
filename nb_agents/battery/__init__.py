"""Named k-sets of one network, kept, swapped and written to disk."""
