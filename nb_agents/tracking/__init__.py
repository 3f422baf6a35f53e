"""The k's over a training: in SB3's logger, as arrays, as a picture."""
