"""What a few episodes of adaptation are worth."""
