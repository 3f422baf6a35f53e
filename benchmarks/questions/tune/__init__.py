"""Settings, chosen by random search on seeds that no report uses."""
