"""Pictures whose look changes: what a few numbers of a small network are worth there."""
