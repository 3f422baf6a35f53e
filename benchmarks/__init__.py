"""The evidence: one script per question."""
