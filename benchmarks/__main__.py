"""The one command line: `python -m benchmarks COMMAND`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.questions import NAMES, find_question

COMMANDS = {name.replace("_", "-"): name for name in NAMES}
"""Commands that answer a question, and the folders of `questions`."""

OTHERS = {
    "speed": ("benchmarks.speed.command", "time environments, learning, k-sets and MAML beside their peers"),
    "report": ("benchmarks.commands.report", "write tables and one page from the runs of a folder"),
    "show": ("benchmarks.commands.show", "list the runs of a folder, or show some of them"),
    "peers-maml": ("benchmarks.speed.peers_maml", "set up or serve the peers of the part maml of speed"),
    "rl-zoo": ("benchmarks.rl_zoo.write", "write the RL zoo's hyperparameter files"),
}
"""Other commands: the module with their `main`, and what they do."""

OLD = {
    "throughput": "speed environments",
    "learning-speed": "speed learning",
    "battery-speed": "speed battery",
    "maml-speed": "speed maml",
}
"""Commands of an older form, and what has taken their place."""

PROGRAM = "python -m benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments of the command line; None for the process's own.

    Returns:
        The exit status: the command's, or 2 where there is none of that name.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(_help())
        return 0
    if command in COMMANDS:
        from nb_evaluation.job import run_job

        name = COMMANDS[command]
        return run_job(find_question(name), f"{PROGRAM} {command}", arguments[1:], Path("benchmarks/out") / name)
    if command in OTHERS:
        status: int = importlib.import_module(OTHERS[command][0]).main(arguments[1:])
        return status
    if command in OLD:
        print(f"{PROGRAM} {command} is not known any more: write {PROGRAM} {OLD[command]}", file=sys.stderr)
        return 2
    print(f"{PROGRAM}: no command is called {command!r}; see {PROGRAM} --help", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, (*COMMANDS, *OTHERS))) + 2
    questions = [f"  {command:<{width}}{find_question(name).title}" for command, name in COMMANDS.items()]
    others = [f"  {command:<{width}}{what}" for command, (_, what) in OTHERS.items()]
    head = f"usage: {PROGRAM} COMMAND [-h] [OPTION ...]\n\nquestions:"
    return "\n".join([head, *questions, "", "others:", *others])


if __name__ == "__main__":
    sys.exit(main())
