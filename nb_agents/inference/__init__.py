"""Gates whose k is computed for each row of a batch: from the context, or from the last transitions."""
