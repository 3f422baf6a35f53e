"""SB3's plain classes back from models and policies with gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nb_agents.battery.per_row import gates_per_row
from nb_agents.gates.gate import named_gates
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.retrofit import retrofit
from nb_agents.surgery.weights import FoldError
from tests.nb_agents.surgery.trained import CASES, Case, actions, critics, values


def test_folded_model_is_the_plain_model(case: Case, tmp_path: Path) -> None:
    model = case.train()
    gated = retrofit(model, gate_critic=True)
    with torch.no_grad():
        for _, gate in named_gates(gated.policy):
            gate.k.normal_()
    folded, policy = fold_gates(gated), fold_gates(gated.policy)
    for result in (folded.policy, policy):
        assert type(result) is type(model.policy)
        assert result.state_dict().keys() == model.policy.state_dict().keys()
        assert result._get_constructor_parameters().keys() == model.policy._get_constructor_parameters().keys()
        np.testing.assert_allclose(actions(result), actions(gated), atol=2e-5)
        np.testing.assert_allclose(actions(result, False), actions(gated, False), atol=2e-5)
    assert not np.allclose(actions(folded), actions(model)) or actions(model).dtype != np.float32
    for network in critics(model):
        for a, b in zip(values(folded, network), values(gated, network), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert folded.policy_kwargs == model.policy_kwargs
    folded.save(tmp_path / "model")
    loaded = case.cls.load(tmp_path / "model", env=model.get_env(), device="cpu")
    assert np.array_equal(actions(loaded), actions(folded))
    assert folded.learn(48, reset_num_timesteps=False).num_timesteps > model.num_timesteps


def test_folding_undoes_a_retrofit_exactly() -> None:
    model = CASES["SAC"].train()
    back = fold_gates(retrofit(model))
    for (name, a), b in zip(model.policy.state_dict().items(), back.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_adapted_policy_folds() -> None:
    model = retrofit(CASES["TD3"].train(), gate_critic=True)
    model.policy.train_only("gates")
    model.learn(48)
    folded = fold_gates(model)
    np.testing.assert_allclose(actions(folded), actions(model), atol=2e-5)
    assert all(parameter.requires_grad for parameter in folded.policy.actor.parameters())
    assert all(type(parameter) is nn.Parameter for parameter in folded.policy.parameters())


def test_a_batch_of_k_sets_does_not_fold() -> None:
    model = retrofit(CASES["A2C"].train())
    gates = list(model.policy.gates.values())
    k_sets = [[gate.k.detach() + i for gate in gates] for i in range(2)]
    with gates_per_row(gates, k_sets, torch.tensor([0, 1])), pytest.raises(FoldError, match="a k-set for each row"):
        fold_gates(model)


def test_policies_of_every_algorithm_fold(algorithm: Any) -> None:
    model = algorithm.make(policy_kwargs={"gate_critic": True}).learn(32)
    with torch.no_grad():
        for _, gate in named_gates(model.policy):
            gate.k.normal_()
    folded, policy = fold_gates(model), fold_gates(model.policy)
    for result in (folded.policy, policy):
        assert not any(named_gates(result))
        assert not isinstance(result, KGatedMixin)
        np.testing.assert_allclose(actions(result), actions(model), atol=2e-5)
    back = retrofit(folded, policy_class=algorithm.policy, gate_critic=True)
    assert np.array_equal(actions(back), actions(folded))
