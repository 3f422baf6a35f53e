"""Runs of jobs."""
