"""Gates in and out of trained networks: insert, fold, retrofit, and the analysis that they rest on."""
