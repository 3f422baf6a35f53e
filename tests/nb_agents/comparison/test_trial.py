"""What cannot work is refused by name, before anything is trained or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nb_agents import compare

HERE = "tests.nb_agents.comparison.worlds"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"algo": "maskableppo"}, "algo MaskablePPO cannot be made for .* only supports"),
        (
            {"set": {"learning_rate": -1.0}},
            "algo PPO cannot be made for .* with learning_rate=-1.0: Invalid learning rate",
        ),
        ({"set": {"policy": "NoPolicy"}}, "algo PPO cannot be made for .*policy='NoPolicy'.*unknown"),
        ({"set": {"policy": "KGatedPolicy"}}, "method fine-tune cannot be used with PPO .*must be without k-gates"),
        ({"set": {"policy_kwargs": "dict(net_arch=[])"}}, "method fine-tune cannot be used .*no hidden layer"),
        (
            {"set": {"policy_kwargs": {"activation_fn": torch.nn.ReLU}}},
            "set.policy_kwargs.activation_fn must be a finite",
        ),
        (
            {
                "env": "NBPendulumControl-v0",
                "target": {"A": 1.8},
                "contexts": {"A": [1.0, 1.5]},
                "algo": "sac",
                "set": {"train_freq": [1, "episode"]},
                "methods": ["student"],
            },
            "method student cannot be used with SAC on .* train_freq must be in steps",
        ),
        ({"target": {"goal": np.nan}}, "target.goal must be a finite number"),
        ({"target": {"broken": "factory"}}, "cannot be made with broken='factory': RuntimeError: no simulator"),
        ({"target": {"broken": "reset"}}, "target must be an environment that can be reset and stepped: KeyError"),
        ({"target": {"broken": "reward"}}, "target must give finite rewards, got nan in the first step"),
    ],
)
@pytest.mark.filterwarnings("ignore:net_arch has no hidden layer")
def test_what_cannot_work_is_said_before_anything_is_trained(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nb_agents.comparison.training._trained", None)
    with pytest.raises(ValueError, match=message):
        compare(**{"env": f"{HERE}:fragile", "target": {"goal": 0.1}, **changed}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
