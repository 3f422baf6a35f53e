"""A conditioned policy at one context: a plain gated policy that acts and values the same there, and folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO

from nb_agents import FiLMGate, FoldError, KGatedPolicy, fold_gates
from nb_agents.inference.conditioned import conditioned_nets
from tests.nb_agents.inference.models import DICT, FLAT, ON, batch, make_model, with_context


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT + DICT)
def test_a_policy_at_a_context_acts_and_values_as_the_conditioned_one_does_there(
    algorithm: Any, policy: Any, key: bool, settings: dict[str, Any]
) -> None:
    model = make_model(algorithm, policy, key, settings)
    model.learn(24)
    context = np.float32([0.5, -1.0])
    there = with_context(batch(model), context)
    bare = there["observation"] if key else there[:, :-2]
    plain = model.policy.at(context)
    aliases = algorithm.policy_aliases
    assert type(plain) is (policy if not key else aliases["KGatedPolicy"]), "what is left of a dictionary has no key"
    assert not any(conditioned_nets(plain))
    acted, alone = (each.predict(o, deterministic=True)[0] for each, o in ((model, there), (plain, bare)))
    np.testing.assert_allclose(alone, acted, atol=1e-5)
    if algorithm in (PPO, A2C, TRPO):
        values = [p.predict_values(p.obs_to_tensor(o)[0]) for p, o in ((model.policy, there), (plain, bare))]
        torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    if hasattr(model, "critic"):
        actions = torch.linspace(-1.0, 1.0, 6)[:, None]
        values = [p.critic(p.obs_to_tensor(o)[0], actions)[0] for p, o in ((model.policy, there), (plain, bare))]
        torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    folded = fold_gates(plain)
    np.testing.assert_allclose(folded.predict(bare, deterministic=True)[0], acted, atol=1e-4)
    with pytest.raises(FoldError, match="computed for each row of a batch: fold the policy `at` a context"):
        fold_gates(model.policy)
    with pytest.raises(ValueError, match="context must be 2 finite numbers"):
        model.policy.at([1.0])
    with pytest.raises(ValueError, match="k_from must be a part of the observation, but the policy's k's are"):
        plain.at(context)


def test_shifts_at_a_context_fold_into_the_plain_network() -> None:
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, gate_class=FiLMGate)
    model.learn(24)
    context = np.float32([0.5, -1.0])
    there = with_context(batch(model), context)
    plain = model.policy.at(context)
    assert all(gate.k.chunk(2)[1].ne(0.0).all() for gate in plain.gates.values())
    folded = fold_gates(plain)
    acted = model.predict(there, deterministic=True)[0]
    np.testing.assert_allclose(folded.predict(there[:, :-2], deterministic=True)[0], acted, atol=1e-5)
