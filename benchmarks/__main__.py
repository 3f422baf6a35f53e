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
    "speed": ("benchmarks.speed.command", "time environments, learning, k-sets, robots and MAML beside their peers"),
    "architectures": ("benchmarks.commands.architectures", "put gates into torchvision's and timm's networks"),
    "imagenet": ("benchmarks.commands.imagenet", "put gates into a MobileNetV2 that has learned ImageNet"),
    "vision-tune": ("benchmarks.questions.vision.tuning", "choose the learning rates of vision on tuning seeds"),
    "film": ("benchmarks.questions.robots.film", "film a cheetah whose motors are inverted, with other k's"),
    "report": ("benchmarks.commands.report", "write tables and one page from the runs of a folder"),
    "show": ("nb_evaluation.show", "list the runs of a folder, or show some of them"),
    "peers-maml": ("benchmarks.speed.peers_maml", "set up or serve the peers of the part maml of speed"),
    "rl-zoo": ("benchmarks.rl_zoo.write", "write the RL zoo's hyperparameter files"),
}
"""Other commands: the module with their `main`, and what they do."""

PROGRAM = "python -m benchmarks"

OLD = {
    "throughput": f"now {PROGRAM} speed environments",
    "learning-speed": f"now {PROGRAM} speed learning",
    "battery-speed": f"now {PROGRAM} speed battery",
    "maml-speed": f"now {PROGRAM} speed maml",
    "rl-zoo.write": f"now {PROGRAM} rl-zoo",
    "recipe-quick-start": "gone: docs/guides/paper-recipe.md runs the quick start as an example",
    "reseal": "gone: every published file has its digest",
}
"""Commands, and modules that were some, of an older form, and what has become of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments of the command line; None for the process's own.

    Returns:
        The exit status: the command's, or 2 where there is none of that name.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = arguments[0] if arguments else "--help"
    command = given.replace("_", "-")
    if command in ("-h", "--help"):
        print(_help())
        return 0
    if command in COMMANDS:
        from nb_evaluation.job import run_job

        name = COMMANDS[command]
        return run_job(find_question(name), f"{PROGRAM} {command}", arguments[1:], Path("benchmarks/out") / name)
    if command in OTHERS:
        status: int = importlib.import_module(OTHERS[command][0]).main(arguments[1:], f"{PROGRAM} {command}")
        return status
    print(refusal(f"{PROGRAM} {given}", given), file=sys.stderr)
    return 2


def refusal(given: str, command: str) -> str:
    """Say what has become of a command of an older form, or that there never was one of that name.

    Args:
        given: What was typed.
        command: The command's name, or its module's below `benchmarks`.
    """
    name = command.replace("_", "-")
    now = f"now {PROGRAM} {name}" if name in (*COMMANDS, *OTHERS) else OLD.get(name)
    return f"{given} is {now}" if now else f"{PROGRAM}: no command is called {command!r}; see {PROGRAM} --help"


def _help() -> str:
    width = max(map(len, (*COMMANDS, *OTHERS))) + 2
    questions = [f"  {command:<{width}}{find_question(name).title}" for command, name in COMMANDS.items()]
    others = [f"  {command:<{width}}{what}" for command, (_, what) in OTHERS.items()]
    head = f"usage: {PROGRAM} COMMAND [-h] [OPTION ...]\n\nquestions:"
    return "\n".join([head, *questions, "", "others:", *others])


if __name__ == "__main__":
    from nb_evaluation.report.screen import quiet_pipe

    sys.exit(quiet_pipe(main, sys.argv[1:]))
