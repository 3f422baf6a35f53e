"""Policies of SB3 with gates: how they are built, trained, saved, and what of them trains."""
