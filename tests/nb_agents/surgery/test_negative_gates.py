"""Gates of a kind that may turn its units around, folded: where a sign passes and where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from torch import nn

from nb_agents import FoldError, KGatedPolicy, fold_gates, insert_gates, named_gates
from tests.nb_agents.shared import Signed, move_gates


def test_a_negative_gate_folds_only_where_the_sign_survives() -> None:
    """ReLU and max-pooling hand on a positive factor; a linear map, a mean or a flattening any."""
    x = torch.randn(4, 2, 8, 8)
    for pool, folds in ((nn.MaxPool2d(2), False), (nn.AvgPool2d(2), True)):
        net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(36, 3))
        gated = insert_gates(net, None, gate_class=Signed)
        (gate,) = (gate for _, gate in named_gates(gated))
        for k in (2.0, -2.0):
            gate.k.data.fill_(k)
            if k > 0 or folds:
                folded = fold_gates(gated, example_inputs=(x,))
                torch.testing.assert_close(folded(x), gated(x), atol=1e-6, rtol=1e-5)
            else:
                with pytest.raises(FoldError, match="gate '1': MaxPool2d of values with a negative gate"):
                    fold_gates(gated, example_inputs=(x,))


class Reduced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.act(self.conv(x))).amax((-2, -1)))  # type: ignore[no-any-return]


def test_a_negative_gate_does_not_pass_functions_that_need_the_sign() -> None:
    gated = insert_gates(Reduced(), None, gate_class=Signed, exclude=("relu_gate",))
    x = torch.randn(4, 2, 8, 8)
    torch.testing.assert_close(fold_gates(gated)(x), gated(x), atol=1e-6, rtol=1e-5)
    move_gates(gated, -2.0, -2.0)
    with pytest.raises(FoldError, match="gate 'act'"):
        fold_gates(gated)


@pytest.mark.parametrize("settings", [{}, {"use_expln": True, "full_std": False}])
def test_negative_gates_fold_under_state_dependent_noise(settings: dict[str, Any]) -> None:
    """The noise is symmetric: a factor of -2 on a unit's latent doubles its share of the noise, whatever the sign."""
    kwargs = {"gate_class": Signed, "net_arch": [16, 16], **settings}
    made = A2C(KGatedPolicy, "Pendulum-v1", policy_kwargs=kwargs, use_sde=True, seed=0, device="cpu")
    move_gates(made.policy, -1.5, -0.5)
    folded = fold_gates(made)
    obs, torques = torch.randn(8, 3), torch.linspace(-2, 2, 8)[:, None]
    acted = [each.predict(obs.numpy(), deterministic=True)[0] for each in (folded, made)]
    np.testing.assert_allclose(*acted, atol=1e-5)
    for ours, theirs in zip(*(m.policy.evaluate_actions(obs, torques) for m in (made, folded)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
