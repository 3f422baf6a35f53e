"""Stacked actors are as many SB3 policies."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.distributions import Normal, kl_divergence

from nb_agents import KGatedPolicy
from nb_agents.maml.acting import acting_chain
from nb_agents.maml.actor import StackedActor
from nb_agents.maml.scaling import ScaledExtractor
from tests.nb_agents.maml.problems import make_actor

BOX = spaces.Box(-2, 2, (3,), dtype=np.float32)


@pytest.mark.parametrize("observation_space", [BOX, spaces.Discrete(4), spaces.MultiBinary(3)])
@pytest.mark.parametrize("action_space", [BOX, spaces.Discrete(3), spaces.MultiDiscrete([2, 4]), spaces.MultiBinary(2)])
@pytest.mark.parametrize("policy_class", [ActorCriticPolicy, KGatedPolicy])
def test_outputs_and_log_probabilities_are_the_policies_own(
    policy_class: type[ActorCriticPolicy],
    action_space: gym.Space,
    observation_space: gym.Space,  # type: ignore[type-arg]
) -> None:
    policy = policy_class(observation_space, action_space, lambda _: 1e-3, net_arch=[8, 8])
    actor = StackedActor(policy)
    params = actor.get_vector() + 0.3 * torch.randn(2, actor.n_params)
    observations = torch.as_tensor(np.stack([observation_space.sample() for _ in range(10)]))
    features = actor.preprocess(observations).reshape(2, 5, -1)
    outputs = actor.outputs(params, features)
    torch.testing.assert_close(actor.acting(params)(features), outputs)
    actions = actor.sample(outputs)
    log_probs = actor.log_prob(outputs, actions)
    for task in range(2):
        actor.set_vector(params[task])
        rows = slice(5 * task, 5 * task + 5)
        _, expected, _ = policy.evaluate_actions(observations[rows], actions[task])
        torch.testing.assert_close(log_probs[task], expected)


def test_log_probability_and_kl_are_summed_over_action_dimensions() -> None:
    """learn2learn averages them, which divides every gradient by the number of dimensions."""
    actor = make_actor()
    old, new = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    actions = actor.sample(new)
    normal = [Normal(z[..., :2], z[..., 2:].exp()) for z in (old, new)]
    torch.testing.assert_close(actor.log_prob(new, actions), normal[1].log_prob(actions).sum(dim=-1))
    torch.testing.assert_close(actor.kl(old, new), kl_divergence(*normal).sum(dim=-1))


def test_gaussian_actions_are_drawn_as_sb3_draws_them() -> None:
    actor = make_actor()
    outputs = torch.randn(3, 5, 4, dtype=torch.float64)
    torch.manual_seed(1)
    actions = actor.sample(outputs)
    torch.manual_seed(1)
    torch.testing.assert_close(actions, actor._distribution(outputs).sample().view(3, 5, 2))


def test_only_what_the_actor_uses_and_may_train_is_stacked() -> None:
    policy = KGatedPolicy(BOX, BOX, lambda _: 1e-3, net_arch=[8, 8])
    actor = StackedActor(policy)
    assert "log_std" in actor.names
    assert any(name.endswith(".k") for name in actor.names)
    assert not any("value_net" in name for name in actor.names)
    policy.action_net.weight.requires_grad_(False)
    assert set(actor.names) - set(StackedActor(policy).names) == {"action_net.weight"}


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Softsign])
@pytest.mark.parametrize("frozen", ["", "action_net", "mlp_extractor.policy_net.0", "log_std"])
def test_acting_is_the_same_function(frozen: str, activation: type[torch.nn.Module]) -> None:
    """With layers that are common to all tasks, scaled observations, and what is no plain chain of known layers."""
    kwargs = {"net_arch": [8, 6], "activation_fn": activation, "features_extractor_class": ScaledExtractor}
    policy = ActorCriticPolicy(BOX, BOX, lambda _: 1e-3, **kwargs)  # type: ignore[arg-type]
    policy.features_extractor.update(3.0 + 2.0 * torch.randn(50, 3))
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(not (frozen and name.startswith(frozen)))
    actor = StackedActor(policy)
    params = actor.get_vector() + 0.3 * torch.randn(4, actor.n_params)
    observations = torch.randn(4, 5, 3)
    torch.testing.assert_close(actor.acting(params)(observations), actor.outputs(params, observations))
    assert (acting_chain(policy, actor._unflatten(params)) is None) == (activation is torch.nn.Softsign)


def test_vectors_go_in_and_out_of_the_policy() -> None:
    actor = make_actor()
    vector = torch.randn(actor.n_params, dtype=torch.float64)
    actor.set_vector(vector)
    assert torch.equal(actor.get_vector(), vector)
    named = dict(actor.policy.named_parameters())
    assert all(torch.equal(named[name].reshape(-1), vector[part]) for name, part in actor.slices())
    assert isinstance(actor.policy.action_dist, DiagGaussianDistribution)


def test_running_statistics_are_those_of_all_observations() -> None:
    extractor = ScaledExtractor(BOX)
    observations = torch.randn(1000, 3) * torch.tensor([1.0, 10.0, 0.1]) + torch.tensor([0.0, 5.0, -3.0])
    for part in observations.split([1, 99, 500, 400]):
        extractor.update(part)
    torch.testing.assert_close(extractor.mean, observations.mean(dim=0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(extractor.variance, observations.var(dim=0, unbiased=False), atol=1e-4, rtol=1e-4)
    scaled = extractor(observations)
    torch.testing.assert_close(scaled.std(dim=0), torch.ones(3), atol=1e-2, rtol=1e-2)
    assert extractor(torch.full((1, 3), 1e9)).max() <= 10.0
