"""Commands beside the questions: the report."""
