"""The one command line: its commands, those of an older form, and readers that leave early."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import OLD, PROGRAM, main, refusal

ROOT = Path(__file__).parents[2]
OLD_MODULES = {
    "ablation": "now python -m benchmarks ablation",
    "battery_speed": "now python -m benchmarks speed battery",
    "few_shot": "now python -m benchmarks few-shot",
    "learning_parity": "now python -m benchmarks learning-parity",
    "learning_speed": "now python -m benchmarks speed learning",
    "maml_speed": "now python -m benchmarks speed maml",
    "navigation": "now python -m benchmarks navigation",
    "peers_maml": "now python -m benchmarks peers-maml",
    "recipe": "now python -m benchmarks recipe",
    "recipe_quick_start": "gone: docs/guides/paper-recipe.md runs the quick start as an example",
    "report": "now python -m benchmarks report",
    "reseal": "gone: every published file has its digest",
    "rl_zoo.write": "now python -m benchmarks rl-zoo",
    "sequence": "now python -m benchmarks sequence",
    "sign_flip": "now python -m benchmarks sign-flip",
    "throughput": "now python -m benchmarks speed environments",
    "transfer": "now python -m benchmarks transfer",
    "tune": "now python -m benchmarks tune",
}
"""Every module that was a command, and what a user is told."""


@pytest.mark.parametrize("module", OLD_MODULES)
def test_every_module_that_was_a_command_names_what_has_become_of_it(module):
    given = f"python -m benchmarks.{module}"
    assert refusal(given, module) == f"{given} is {OLD_MODULES[module]}"


def test_what_takes_an_old_command_s_place_is_a_command(capsys):
    news = [new for new in {**OLD_MODULES, **OLD}.values() if new.startswith("now ")]
    for new in news:
        with pytest.raises(SystemExit, match="0"):
            main([*new.removeprefix(f"now {PROGRAM} ").split(), "--help"])
        assert capsys.readouterr().out.startswith("usage: python -m benchmarks ")


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-m", "benchmarks.maml_speed", "--rounds", "-m"],
            "benchmarks.maml_speed is now python -m benchmarks speed maml",
        ),
        (["-mbenchmarks.transfer"], "python -m benchmarks.transfer is now python -m benchmarks transfer"),
        (["-m", "benchmarks.rl_zoo.write"], "python -m benchmarks.rl_zoo.write is now python -m benchmarks rl-zoo"),
        (["-m", "benchmarks.methods"], "no command is called 'methods'; see python -m benchmarks --help"),
        (["-m", "benchmarks.protocol.spec"], "no command is called 'protocol.spec'"),
    ],
)
def test_modules_are_answered_by_the_interpreter_s_own_words(arguments, message):
    done = python(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["few_shot", "learning_parity", "sign_flip", "peers_maml", "rl_zoo", "few-shot"])
def test_commands_are_known_with_either_dash(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: python -m benchmarks {command.replace('_', '-')}" in capsys.readouterr().out


def test_nonsense_is_no_command(capsys):
    assert main(["methods"]) == 2
    assert capsys.readouterr().err == f"{PROGRAM}: no command is called 'methods'; see {PROGRAM} --help\n"


def test_the_columns_of_the_help_do_not_run_together(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["transfer", "--help"])
    assert "\n  nb-pro-no-k-target  nb-pro without" in capsys.readouterr().out


def test_the_report_s_help_says_what_it_writes(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Write index.html, one page of tables and figures that needs nothing else, and table.md in" in text
    assert "the job's own command with the same --out draws them again" in text


@pytest.mark.parametrize("arguments", [["show", "benchmarks/results/ablation"], ["--help"], ["transfer", "--help"]])
def test_a_reader_that_leaves_early_hears_no_complaint(arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)
