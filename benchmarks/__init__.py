"""The evidence: one command line, `python -m benchmarks COMMAND`."""

import re
import sys

if sys.argv[0] == "-m" and (_old := re.fullmatch(r"(?:-\w*m)?(benchmarks\.(.+))", sys.orig_argv[-len(sys.argv)])):
    # Commands were modules once, and stand so in older notes: Python would only say that there is no such module.
    from benchmarks.__main__ import refusal

    sys.exit(refusal(f"python -m {_old[1]}", _old[2]))
