"""The evidence: one command line, `python -m benchmarks COMMAND`."""

import sys

if sys.argv[0] == "-m" and (_words := sys.orig_argv[sys.orig_argv.index("-m") :])[1].startswith("benchmarks."):
    # Commands were modules once, and stand so in older notes: Python would only say that there is no such module.
    _command = _words[1].removeprefix("benchmarks.").replace("_", "-")
    sys.exit(f"python -m {_words[1]} is now python -m benchmarks {_command}; see python -m benchmarks --help")
