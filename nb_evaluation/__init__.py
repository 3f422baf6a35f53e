"""What evidence is made of: runs, statistics, tables, figures and the page; no torch, no environment of ours."""
