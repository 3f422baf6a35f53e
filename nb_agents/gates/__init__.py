"""What a gate is: the formula, its kinds, its regulariser and its presets."""
