"""The command line of the installed package: `neural-battery COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "neural-battery"

HELP = f"""\
usage: {PROGRAM} COMMAND [-h] [OPTION ...]

  compare  compare ways of moving a policy to a changed environment, yours or Gymnasium's
  show     list the runs of a folder, or show some of them
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments of the command line; None for the process's own.

    Returns:
        The exit status: the command's, or 2 where there is none of that name or a package is missing.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if command not in ("compare", "show"):
        print(f"{PROGRAM}: no command is called {command!r}; see {PROGRAM} --help", file=sys.stderr)
        return 2
    try:
        from nb_agents.comparison.question import QUESTION
        from nb_evaluation import show
        from nb_evaluation.job import run_job
        from nb_evaluation.report.screen import quiet_pipe
    except ModuleNotFoundError as error:
        needed = f'{PROGRAM} {command} needs {error.name}: pip install "neural-battery[compare]"'
        print(needed, file=sys.stderr)
        return 2
    program = f"{PROGRAM} {command}"
    if command == "show":
        return quiet_pipe(lambda given: show.main(given, program), arguments[1:])
    return quiet_pipe(lambda given: run_job(QUESTION, program, given, Path("comparison")), arguments[1:])
