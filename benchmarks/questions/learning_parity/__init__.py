"""Learning with gates against without, on SB3's own learning tests."""
