"""Policies in other runtimes."""
