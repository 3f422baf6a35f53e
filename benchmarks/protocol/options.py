"""Options of the commands that train on the pendulum protocol."""

from __future__ import annotations

import argparse

from benchmarks.protocol.spec import EPISODE_STEPS
from nb_evaluation.arguments import count


def add_budget(parser: argparse.ArgumentParser, option: str, default: int, what: str) -> None:
    """Add an option that takes a number of episodes."""
    help_text = f"{what}, in episodes of {EPISODE_STEPS:,} physics steps (default: {default})"
    parser.add_argument(option, type=count, default=default, metavar="N", help=help_text)


def add_context(parser: argparse.ArgumentParser, option: str, default: list[str], what: str) -> None:
    """Add an option that takes parameters of a pendulum, see `nb_evaluation.arguments.parse_assignments`."""
    help_text = f"{what} (default: {' '.join(default)})"
    parser.add_argument(option, nargs="+", default=default, metavar="NAME=VALUE", help=help_text)
