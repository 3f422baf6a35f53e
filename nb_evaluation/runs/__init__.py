"""Runs: specified, executed in workers, stored, read and checked."""
