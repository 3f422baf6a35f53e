"""Which stored k-set fits the task that some steps are of."""
