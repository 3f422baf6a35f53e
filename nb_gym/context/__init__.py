"""What a user may set, of any environment: checked where it enters, drawn at the start of an episode."""
