"""The meta-updates: what an outer step does with the adapted tasks."""
