"""The context searched with whole episodes as scores, beside the k's themselves."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from nb_agents import Battery, Found, KGatedPolicy, SignedKGate, VectorEnvAdapter, fold_gates, search_k
from nb_agents.inference.conditioned import conditioned_nets
from tests.nb_agents.inference.models import make_model
from tests.nb_agents.inference.test_distill import pendulums, shown_signs

ON = {"n_steps": 8, "batch_size": 8}


@pytest.fixture(scope="module")
def teacher() -> Any:
    """Holds a pendulum at either sign of its actuator, by PD control with the drive cancelled; made and not trained."""
    kwargs = {
        "k_from": "context",
        "gate_class": SignedKGate,
        "block_size": None,
        "net_arch": [2],
        "k_net": (),
        "k_init": 0.1,
    }
    model = PPO(KGatedPolicy, VectorEnvAdapter(shown_signs(2)), policy_kwargs=kwargs, seed=0, device="cpu")
    policy: Any = model.policy
    (net,) = conditioned_nets(policy)
    numbers = {"0.weight": [[0.03, 0.1, 0.0, 0.0], [0.0, 0.0, 0.05, 0.0]], "0.bias": [0.0, 0.0], "1.k": [0.0]}
    net.load_state_dict(
        {name: torch.tensor(value) for name, value in numbers.items()} | {"k_net.0.weight": torch.tensor([[1.0986123]])}
    )
    policy.action_net.load_state_dict({"weight": torch.tensor([[-20.0, -20.0]]), "bias": torch.zeros(1)})
    return model


def first_episode(policy: Any, gain: float, n: int = 4) -> float:
    env = pendulums(n, gain, "Disabled")
    observation, _ = env.reset(seed=3)
    total, over = np.zeros(n), False
    while not over:
        observation, reward, _, truncated, _ = env.step(policy.predict(observation, deterministic=True)[0])
        total, over = total + reward, bool(truncated.all())
    return float(total.mean())


@pytest.mark.parametrize("gain", [1.0, -1.0])
def test_few_episodes_find_the_sign_of_the_actuator(teacher: Any, gain: float) -> None:
    """No torque returns −2,368. The k's of the middle are tried first, and so is the middle of the context."""
    found = search_k(teacher.policy, lambda p: first_episode(p, gain), low=[-1.0], high=[1.0])
    assert found.score > -30.0
    assert np.sign(found.values) == [gain]
    assert first_episode(found.policy, gain) == found.score == found.scores.max()
    assert len(found.scores) == 25
    middle = teacher.policy.at([0.0])
    assert found.scores[0] == first_episode(middle, gain)
    kept = Battery(found.policy)
    kept.capture("here")
    np.testing.assert_allclose(first_episode(fold_gates(found.policy), gain), found.score, rtol=1e-3)


def first_k(policy: Any) -> float:
    return float(next(iter(policy.gates.values())).k[0].detach())


def quadratic(policy: Any, target: torch.Tensor) -> float:
    k = torch.cat([gate.k.detach() for gate in policy.gates.values()])
    return -float((k - target).square().sum())


def test_the_context_is_found_where_the_same_number_of_candidates_leaves_the_ks_behind() -> None:
    """The target is a k-set that f makes: over two coordinates it is reached, over ten it is not."""
    kwargs = {"gate_class": SignedKGate, "net_arch": [64, 64], "k_net": ()}
    conditioned = make_model(PPO, KGatedPolicy, False, ON, **kwargs).policy
    target = torch.cat([gate.k.detach() for gate in conditioned.at([0.8, -0.7]).gates.values()])
    assert len(target) == 10
    by_context = search_k(conditioned, lambda p: quadratic(p, target), 60, low=[-1.0, -1.0], high=[1.0, 1.0])
    middle = conditioned.at([0.0, 0.0])
    before = {name: value.clone() for name, value in middle.state_dict().items()}
    by_k = search_k(middle, lambda p: quadratic(p, target), episodes=60, sigma=0.5)
    np.testing.assert_allclose(by_context.values, [0.8, -0.7], atol=0.1)
    assert by_context.score > by_context.scores[0] / 20
    assert by_context.score > by_k.score >= by_k.scores[0] == by_context.scores[0]
    assert quadratic(by_k.policy, target) == pytest.approx(by_k.score, rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in middle.state_dict().items())


def test_the_same_seed_tries_the_same_candidates_within_the_box_and_leaves_generators_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conditioned = make_model(PPO, KGatedPolicy, False, ON).policy
    torch.manual_seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    made, tried = type(conditioned).at, []
    monkeypatch.setattr(type(conditioned), "at", lambda self, context: tried.append(context) or made(self, context))
    runs = [search_k(conditioned, first_k, low=[1, -1], high=[1.9, 1]) for _ in range(2)]
    assert isinstance(runs[0], Found)
    np.testing.assert_array_equal(runs[0].scores, runs[1].scores)
    assert all((np.array([1, -1]) <= c).all() and (c <= np.array([1.9, 1])).all() for c in tried)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index, union-attr]


@pytest.mark.parametrize("lost", [np.nan, -np.inf, np.inf])
def test_a_score_that_is_not_finite_is_a_bad_one_and_the_search_goes_on(lost: float) -> None:
    """The first candidate blows up, and so do all that are far from the target."""
    kwargs = {"gate_class": SignedKGate, "net_arch": [64, 64], "k_net": ()}
    conditioned = make_model(PPO, KGatedPolicy, False, ON, **kwargs).policy
    target = torch.cat([gate.k.detach() for gate in conditioned.at([0.5, -0.5]).gates.values()])
    beyond = quadratic(conditioned.at([0.8, -0.7]), target)
    scores: list[float] = []

    def return_of(policy: Any) -> float:
        score = quadratic(policy, target)
        scores.append(lost if not scores or score < 4 * beyond else score)
        return scores[-1]

    found = search_k(conditioned, return_of, 60, low=[-1.0, -1.0], high=[1.0, 1.0])
    assert sum(not np.isfinite(score) for score in found.scores) > 3
    assert found.score == found.scores[np.isfinite(found.scores)].max()
    np.testing.assert_allclose(found.values, [0.5, -0.5], atol=0.1)


def test_each_candidate_is_a_policy_of_its_own() -> None:
    plain = make_model(PPO, KGatedPolicy, False, ON).policy.at([0.0, 0.0])
    kept: list[Any] = []

    def return_of(policy: Any) -> float:
        kept.append(policy)
        return first_k(policy)

    found = search_k(plain, return_of, episodes=5)
    np.testing.assert_array_equal([first_k(policy) for policy in kept], found.scores)
    assert len(set(found.scores)) == 5


def test_bad_arguments_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    conditioned = make_model(PPO, KGatedPolicy, False, ON).policy
    plain = conditioned.at([0.0, 0.0])
    boxes: list[Any] = [(None, None), ([0.0], [1.0]), ([0.0, 1.0], [1.0, 1.0]), ([0.0, -np.inf], [1.0, 1.0])]
    for low, high in boxes:
        with pytest.raises(ValueError, match=r"low and high must be finite numbers of shape \(2,\), low < high"):
            search_k(conditioned, lambda p: 0.0, low=low, high=high)
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(ImportError, match=r'searching needs cma: pip install "neural-battery\[search\]"'):
        search_k(plain, lambda p: 0.0)
