"""The measurement of gates in other people's networks, on networks of torch's own."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from benchmarks.__main__ import main
from benchmarks.commands.architectures import measure
from benchmarks.commands.networks import NETWORKS


def test_a_network_is_measured(monkeypatch):
    monkeypatch.setattr(torch.backends.mha, "get_fastpath_enabled", lambda: False)  # the fused path rounds otherwise
    outcome = measure("torch:TransformerEncoder", *NETWORKS["torch:TransformerEncoder"]())
    assert (outcome.gates, outcome.neutral, outcome.refusal, outcome.left_out) == (2, True, "", "")
    assert outcome.double < 1e-12
    assert outcome.single < 1e-5


def test_what_is_refused_keeps_the_reason():
    outcome = measure("none", nn.Linear(4, 2), (torch.randn(3, 4),))
    assert outcome.gates == 0
    assert "has no hidden activation to gate" in outcome.refusal


def test_the_packages_and_the_names_are_asked_for_first(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["architectures", "resnet"])
    assert "must be one of torchvision:alexnet" in capsys.readouterr().err
    if find_spec("torchvision") is None:
        with pytest.raises(SystemExit, match="2"):
            main(["architectures"])
        assert 'pip install "neural-battery[vision]"' in capsys.readouterr().err
