import argparse
import socket

import pytest

from benchmarks.protocol.options import add_budget
from nb_evaluation.arguments import add_methods, add_seeds, add_workers, reporting_seeds


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(prog="job")
    add_seeds(parser, 5)
    add_workers(parser)
    return parser


def test_defaults(parser):
    assert vars(parser.parse_args([])) == {"seeds": 5, "workers": 2, "ray": None}
    assert vars(parser.parse_args(["--seeds", "30", "--workers", "64"])) == {"seeds": 30, "workers": 64, "ray": None}


def test_methods_budgets_and_seeds(parser, capsys):
    add_methods(parser, ("a", "b", "c"), ("a", "b"))
    add_budget(parser, "--shots", 25, "budget on each target")
    options = parser.parse_args(["--methods", "c", "--shots", "3"])
    assert (options.methods, options.shots) == (["c"], 3)
    assert (parser.get_default("methods"), parser.get_default("shots")) == (("a", "b"), 25)
    assert list(reporting_seeds(3)) == [100, 101, 102]
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "what to compare (default: a b)" in text
    assert "budget on each target, in episodes of 1,000 physics steps (default: 25)" in text
    for bad in (["--methods", "d"], ["--shots", "0"]):
        with pytest.raises(SystemExit):
            parser.parse_args(bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "argument --seeds: must be a whole number of at least 1, got '0'"),
        (["--workers", "-1"], "argument --workers: must be a whole number of at least 1, got '-1'"),
        (["--ray", "head"], "argument --ray: a Ray address is HOST:PORT, ray://HOST:PORT or auto; got 'head'"),
    ],
)
def test_bad_options_are_named(parser, capsys, options, message):
    with pytest.raises(SystemExit):
        parser.parse_args(options)
    assert message in capsys.readouterr().err


def test_an_unreachable_cluster_is_named(parser, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SystemExit):
            parser.parse_args(["--ray", address])
    assert f"argument --ray: no Ray cluster answers at {address}" in capsys.readouterr().err
