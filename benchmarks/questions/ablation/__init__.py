"""What each part of NB Pro is worth."""
