"""A folder per question: what is run, what it is judged by, its tables and figures."""
