"""Gates: the formula, its kinds, its regulariser and its presets."""
