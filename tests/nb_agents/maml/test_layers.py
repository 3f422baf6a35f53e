"""Networks of one's own: what can be stacked is right in value, and what cannot is refused by the layer's name."""

from __future__ import annotations

import copy
import io
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import nb_gym  # noqa: F401 - registers the environments
from nb_agents import KGatedPolicy
from nb_agents.maml import MAML, Reptile
from nb_agents.maml.actor import StackedActor
from nb_agents.maml.critic import fit_critic
from nb_agents.maml.rollout import roll_out
from nb_agents.maml.tasks import make_task_envs

TASKS = [{"A": 1.0, "frame_skip": 50}, {"A": 1.5, "frame_skip": 50}]
OBSERVATIONS = spaces.Box(-1, 1, (2,), dtype=np.float32)
ACTIONS = spaces.Box(-1, 1, (1,), dtype=np.float32)


class Encoder(BaseFeaturesExtractor):
    """Any layers from the observation's numbers to 6 features."""

    def __init__(self, space: gym.Space[Any], *layers: nn.Module) -> None:
        super().__init__(space, 6)
        self.net = nn.Sequential(*layers)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.net(observations)


class Mlp(Encoder):
    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, nn.Linear(2, 6), nn.ReLU())


class Normed(Encoder):
    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, nn.Linear(2, 6), nn.LayerNorm(6), nn.PReLU(6))


class Softplus(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.softplus(x)


class Positive(Encoder):
    """A weight that is computed from another."""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, nn.Linear(2, 6), nn.Softsign())
        nn.utils.parametrize.register_parametrization(self.net[0], "weight", Softplus())


class Tied(BaseFeaturesExtractor):
    """Two layers that share their weight, each with a bias of its own, behind a layer that is called twice."""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, 6)
        self.first, self.a, self.b = nn.Linear(2, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.first(observations)) * torch.sigmoid(self.first(-observations))
        return self.b(torch.tanh(self.a(h)))


class Images(BaseFeaturesExtractor):
    """Observations with two axes, as SB3 hands them over."""

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, 6)
        self.conv, self.linear = nn.Conv1d(3, 2, 2), nn.Linear(6, 6)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(observations).flatten(1))


def check_values(policy: ActorCriticPolicy) -> None:
    """Stacked actors, acting or learning, compute what the policy does with each of their parameters."""
    actor = StackedActor(policy)
    params = actor.get_vector() + 0.3 * torch.randn(3, actor.n_params)
    observations = torch.as_tensor(np.stack([policy.observation_space.sample() for _ in range(15)]))
    features = actor.preprocess(observations).reshape(3, 5, -1)
    outputs = actor.outputs(params, features)
    torch.testing.assert_close(actor.acting(params)(features), outputs)
    means = outputs.chunk(2, dim=-1)[0]
    for task in range(3):
        actor.set_vector(params[task])
        expected = policy.get_distribution(observations[5 * task : 5 * task + 5]).distribution.mean
        torch.testing.assert_close(means[task], expected)


@pytest.mark.parametrize("policy_class", [ActorCriticPolicy, KGatedPolicy])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("extractor", [Mlp, Normed, Positive, Tied])
def test_extractors_with_parameters_have_a_stacked_form(
    extractor: Any, share: bool, policy_class: type[ActorCriticPolicy]
) -> None:
    policy = policy_class(
        OBSERVATIONS, ACTIONS, lambda _: 1e-3, net_arch=[5],
        features_extractor_class=extractor, share_features_extractor=share,
    )  # fmt: skip
    check_values(policy)
    assert all(isinstance(p, nn.Parameter) for m in policy.modules() for p in m._parameters.values() if p is not None)


def test_observations_keep_their_axes() -> None:
    space = spaces.Box(-1, 1, (3, 4), dtype=np.float32)
    check_values(ActorCriticPolicy(space, ACTIONS, lambda _: 1e-3, net_arch=[5], features_extractor_class=Images))
    check_values(ActorCriticPolicy(spaces.MultiBinary([3, 4]), ACTIONS, lambda _: 1e-3, net_arch=[5]))


def test_a_hook_on_a_layer_acts_as_it_does_in_the_policy() -> None:
    policy = ActorCriticPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, net_arch=[5])
    policy.mlp_extractor.policy_net[0].register_forward_hook(lambda module, inputs, output: 2.0 * output)
    check_values(policy)


@pytest.mark.parametrize("learner", [MAML, Reptile])
@pytest.mark.parametrize("extractor", [Mlp, Tied])
def test_extractors_with_parameters_train_and_move_into_files_and_ppo(extractor: Any, learner: type[MAML]) -> None:
    kwargs = {"features_extractor_class": extractor, "net_arch": [5]}
    model = learner(
        "MlpPolicy", "NBPendulum-v0", TASKS, episodes_per_task=2, seed=0, device="cpu", policy_kwargs=kwargs
    )
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(60)
    moved = {name for name, value in model.policy.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("features_extractor") for name in moved)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = type(model).load(file, device="cpu")
    copy.deepcopy(model.policy)
    x = np.array([[0.3, -0.2]], dtype=np.float32)
    assert np.array_equal(loaded.predict(x, deterministic=True)[0], model.predict(x, deterministic=True)[0])
    adapted, again = (each.adapt({"A": 1.8, "frame_skip": 50}, seed=1) for each in (model, loaded))
    assert np.array_equal(adapted.predict(x, deterministic=True)[0], again.predict(x, deterministic=True)[0])
    assert not np.array_equal(adapted.predict(x, deterministic=True)[0], model.predict(x, deterministic=True)[0])
    assert model.evaluate(TASKS).shape == (2, 2, 2)


def test_the_critic_is_fitted_on_observations_as_they_are() -> None:
    policy = ActorCriticPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, net_arch=[5], features_extractor_class=Mlp)
    actor = StackedActor(policy)
    envs = make_task_envs("NBPendulum-v0", TASKS, 1)
    rollout = roll_out(envs, actor, actor.get_vector().expand(2, -1), seed=0)
    before = actor.get_vector()
    fit_critic(policy, [rollout], actor.names, gamma=0.9, steps=2)
    assert torch.equal(actor.get_vector(), before), "an extractor that the actor uses stays"


class Recurrent(BaseFeaturesExtractor):
    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, 6)
        self.lstm = nn.LSTM(2, 6)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.lstm(observations[None])[0][0]


class Branching(BaseFeaturesExtractor):
    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, 6)
        self.linear = nn.Linear(2, 6)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        h = self.linear(observations)
        return h if h.sum() > 0 else -h


class BatchNormed(Encoder):
    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, nn.Linear(2, 6), nn.BatchNorm1d(6))


class Dropped(Encoder):
    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__(space, nn.Linear(2, 6), nn.Dropout(0.5))


@pytest.mark.parametrize(
    ("extractor", "layer"),
    [
        (BatchNormed, r"'features_extractor\.net\.1' \(BatchNorm1d\)"),
        (Dropped, r"'features_extractor\.net\.1' \(Dropout\)"),
        (Recurrent, r"'features_extractor\.lstm' \(LSTM\)"),
        (Branching, r"'features_extractor' \(Branching\)"),
    ],
)
def test_layers_without_a_stacked_form_are_named(extractor: Any, layer: str) -> None:
    kwargs = {"features_extractor_class": extractor, "net_arch": [5]}
    with pytest.raises(ValueError, match=f"the policy's layer {layer} cannot be evaluated for several parameters"):
        MAML("MlpPolicy", "NBPendulum-v0", TASKS, episodes_per_task=2, seed=0, device="cpu", policy_kwargs=kwargs)


def test_a_refused_policy_is_as_it_was() -> None:
    policy = ActorCriticPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, features_extractor_class=BatchNormed)
    state = copy.deepcopy(policy.state_dict())
    with pytest.raises(ValueError, match="BatchNorm1d"):
        StackedActor(policy)
    assert all(torch.equal(value, state[name]) for name, value in policy.state_dict().items())
    assert all(isinstance(p, nn.Parameter) for m in policy.modules() for p in m._parameters.values() if p is not None)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in policy.modules())
