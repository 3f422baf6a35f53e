"""Several tasks one after another and back again."""
