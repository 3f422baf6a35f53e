"""Commands beside the questions: the report, and a look into a folder of runs."""
