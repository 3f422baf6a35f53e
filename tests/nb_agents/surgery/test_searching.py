"""The context searched by gradient: a guess of it is all of the actor that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TQC, CrossQ
from stable_baselines3 import DQN, PPO, SAC, TD3

from nb_agents import KGatedPolicy, SignedKGate, guess, searching
from nb_agents.inference.conditioned import conditioned_nets
from tests.nb_agents.inference.models import FLAT, SHORT, batch, make_env, make_model
from tests.nb_agents.inference.models import with_context as at
from tests.nb_agents.shared import TwoTorques

ON = {"n_steps": 8, "batch_size": 8}
START = np.float32([0.4, -0.6])


def hidden(*, discrete: bool = False) -> gym.Env[Any, Any]:
    env: Any = gym.make("NBPendulum-v0", torque_gain=(0.5, 1.0), A=(1.0, 1.5), **SHORT)
    return TwoTorques(env) if discrete else env


@pytest.mark.parametrize(
    ("algorithm", "policy", "settings"),
    [(a, p, s) for a, p, _, s in FLAT if a in (PPO, SAC, TD3, DQN, TQC, CrossQ)],
)
def test_it_acts_as_in_the_guessed_context_and_only_the_guess_moves(
    algorithm: Any, policy: Any, settings: Any, tmp_path: Path
) -> None:
    teacher = make_model(algorithm, policy, False, settings)
    teacher.learn(16)
    found = searching(teacher, hidden(discrete=algorithm is DQN), START)
    observations = batch(teacher)
    acted = teacher.predict(at(observations, START), deterministic=True)[0]
    bare = observations[:, :-2]
    np.testing.assert_allclose(found.predict(bare, deterministic=True)[0], acted, atol=1e-5)
    np.testing.assert_array_equal(guess(found), START)
    actor = {n for n, p in found.policy.named_parameters() if p.requires_grad and not n.startswith(("critic", "value"))}
    before = {name: value.detach().clone() for name, value in found.policy.named_parameters()}
    found.learn(40)
    moved = {n for n, p in found.policy.named_parameters() if not torch.equal(p, before[n]) and "_target" not in n}
    critic = {n for n in moved if n.startswith(("critic", "value_net", "mlp_extractor.value_net"))}
    (name,) = moved - critic
    assert name.endswith("k_net.context")
    assert name in actor
    now = guess(found)
    assert (now - torch.as_tensor(START)).abs().min() > 0.0
    acted = teacher.policy.at(now).predict(bare, deterministic=True)[0]
    np.testing.assert_allclose(found.predict(bare, deterministic=True)[0], acted, atol=1e-5)
    found.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", device="cpu")
    np.testing.assert_array_equal(guess(loaded), now)


def test_the_critic_values_as_in_the_guessed_context() -> None:
    teacher = make_model(PPO, KGatedPolicy, False, ON)
    found = searching(teacher, hidden())
    there = at(batch(teacher), 0.0)
    values = [p.predict_values(torch.as_tensor(o)) for p, o in ((teacher.policy, there), (found.policy, there[:, :-2]))]
    torch.testing.assert_close(*values)


def test_the_gradient_of_the_guess_is_that_through_f_by_finite_differences() -> None:
    teacher = make_model(PPO, KGatedPolicy, False, ON, gate_class=SignedKGate)
    found = searching(teacher, hidden(), START)
    found.policy.double()
    observations = torch.as_tensor(batch(teacher)[:, :-2], dtype=torch.float64)
    (net,) = conditioned_nets(found.policy)
    context: Any = net.k_net.context

    def value() -> torch.Tensor:
        return found.policy.action_net(net(observations)).square().sum()  # type: ignore[no-any-return]

    value().backward()  # type: ignore[no-untyped-call]
    for i in range(2):
        with torch.no_grad():
            context[i] += 1e-6
            high = value()
            context[i] -= 2e-6
            low = value()
            context[i] += 1e-6
        assert context.grad[i].item() == pytest.approx((high - low).item() / 2e-6, rel=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    teacher = make_model(PPO, KGatedPolicy, False, ON)
    with pytest.raises(ValueError, match=r"env must show Box.* without 'context'"):
        searching(teacher, make_env())
    for start in ([1.0], [np.nan, 0.0]):
        with pytest.raises(ValueError, match="start must be 2 finite numbers"):
            searching(teacher, hidden(), start)
    plain = PPO(KGatedPolicy, hidden(), device="cpu")
    with pytest.raises(ValueError, match="model must have a policy with k_from"):
        searching(plain, hidden())
    with pytest.raises(ValueError, match=r"model must be one that nb_agents\.searching made"):
        guess(teacher)
    with pytest.raises(ValueError, match="k_from must be a part of the observation"):
        searching(teacher, hidden()).policy.at([])  # type: ignore[operator, union-attr]
