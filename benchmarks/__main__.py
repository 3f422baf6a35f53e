"""The one command line: `python -m benchmarks COMMAND`."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "transfer": "questions.transfer.question",
    "ablation": "questions.ablation.question",
    "few-shot": "questions.few_shot.question",
    "sequence": "questions.sequence.question",
    "recipe": "questions.recipe.question",
    "learning-parity": "questions.learning_parity.question",
    "navigation": "questions.navigation.question",
    "sign-flip": "questions.sign_flip.question",
    "throughput": "speed.environments",
    "learning-speed": "speed.learning",
    "battery-speed": "speed.battery",
    "maml-speed": "speed.maml",
    "tune": "tune",
    "report": "report.__main__",
    "peers-maml": "speed.peers_maml",
    "recipe-quick-start": "questions.recipe.quick_start",
    "rl-zoo": "rl_zoo.write",
    "reseal": "runs.reseal",
}


def main() -> int:
    """Run a command."""
    command = sys.argv.pop(1)
    status: int = importlib.import_module(f"benchmarks.{COMMANDS[command]}").main()
    return status


if __name__ == "__main__":
    sys.exit(main())
