"""Both signs of an actuator, tried by a policy that was made for one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize

from nb_agents import KGate, SignedKGate, VectorEnvAdapter, retrofit, turn_around
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.returns import first_episodes
from tests.nb_agents.inference.test_distill import pendulums, shown_signs


def one_signed(algorithm: Any = PPO) -> Any:
    """A model without gates that holds a pendulum by PD control with the drive cancelled, at a gain of 1."""
    kwargs = {"net_arch": {"pi": [2], "vf": [2], "qf": [2]} if algorithm is PPO else {"pi": [2], "qf": [2]}}
    if algorithm is PPO:
        kwargs["net_arch"].pop("qf")
    env = VectorEnvAdapter(pendulums(2, 1.0))
    model = algorithm("MlpPolicy", env, policy_kwargs=kwargs | {"activation_fn": torch.nn.Tanh}, seed=0, device="cpu")
    first, bias = torch.tensor([[0.03, 0.1, 0.0, 0.0], [0.0, 0.0, 0.05, 0.0]]), torch.zeros(2)
    head = torch.tensor([[-20.0, -20.0]])
    if algorithm is PPO:
        model.policy.mlp_extractor.policy_net[0].load_state_dict({"weight": first, "bias": bias})
        model.policy.action_net.load_state_dict({"weight": head, "bias": torch.zeros(1)})
        return model
    for actor in filter(None, (model.policy.actor, getattr(model.policy, "actor_target", None))):
        hidden, last = (actor.latent_pi, actor.mu) if algorithm is SAC else (actor.mu, actor.mu[2])
        hidden[0].load_state_dict({"weight": first, "bias": bias})
        last.load_state_dict({"weight": 0.5 * head, "bias": torch.zeros(1)})  # squashed, and scaled by the torque's 2
    return model


def gated(algorithm: Any = PPO, env: Any = None, **kwargs: Any) -> Any:
    env = VectorEnvAdapter(shown_signs(4)) if env is None else env
    arguments: dict[str, Any] = {"block_size": None, "gate_class": SignedKGate, "k_from": "context", "env": env}
    return retrofit(one_signed(algorithm), **arguments | kwargs)


@pytest.mark.parametrize("algorithm", [PPO, SAC, TD3])
@pytest.mark.parametrize("block_size", [None, 1])
def test_a_policy_of_one_sign_holds_the_other_without_a_gradient_step_of_its_own(
    algorithm: Any, block_size: int | None
) -> None:
    model = gated(algorithm, block_size=block_size)
    env = model.get_env()
    weights = {n: p.detach().clone() for n, p in model.policy.named_parameters() if "k_net" not in n}
    before = first_episodes(model.policy, env, 5)
    turned = turn_around(model, seed=5)
    assert_array_equal(turned.kept, before)
    assert (turned.kept[::2] > -40.0).all()
    assert (turned.kept[1::2] < -1_000.0).all(), "no torque at all returns −2,368"
    assert_array_equal(turned.contexts[:, 0], [1.0, -1.0, 1.0, -1.0])
    assert turned.steps == 2 * 4 * 50
    after = first_episodes(model.policy, env, 5)
    np.testing.assert_allclose(after, np.maximum(turned.kept, turned.turned), rtol=0.05)
    assert after.min() > -40.0
    assert all(torch.equal(weights[n], p) for n, p in model.policy.named_parameters() if n in weights)
    nets = list(conditioned_nets(model.policy))
    assert len(nets) == (2 if algorithm is TD3 else 1)
    states = [net.k_net.state_dict() for net in nets]
    assert all(torch.equal(state[name], states[0][name]) for state in states for name in state)
    assert str(turned).startswith("turned around in 2 of 4 contexts: -")


def test_contexts_that_change_with_the_episode_are_all_tried_and_statistics_stand_still() -> None:
    env = VecNormalize(VectorEnvAdapter(shown_signs(3)), norm_obs=False)
    model = gated(env=env)
    model.learn(1)
    state = env.ret_rms.mean.copy(), env.training, env.norm_reward
    turned = turn_around(model, episodes=2, seed=7)
    assert turned.contexts.shape == (6, 1)
    assert turned.turned.shape == (6,)
    assert (env.ret_rms.mean, env.training, env.norm_reward) == state
    assert turned.kept.max() < -1.0, "in rewards as they are"
    model.learn(8)  # it begins with a reset


def test_where_both_signs_are_worth_the_same_nothing_changes() -> None:
    model = gated()
    model.policy.action_net.weight.data.zero_()
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    turned = turn_around(model, updates=20)
    assert_array_equal(turned.kept, turned.turned)
    assert all(torch.equal(before[name], value) for name, value in model.policy.state_dict().items())


class Broken(VecEnvWrapper):
    """Rewards are no numbers."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        obs, rewards, dones, infos = self.venv.step_wait()
        return obs, rewards * np.nan, dones, infos


def test_bad_input_is_refused_before_anything_changes() -> None:
    model = gated()
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    with pytest.raises(ValueError, match="env must give finite rewards"):
        turn_around(model, Broken(model.get_env()))
    for name, wrong in (("episodes", 0), ("updates", -1), ("learning_rate", 0.0), ("seed", -1)):
        with pytest.raises(ValueError, match=name):
            turn_around(model, **{name: wrong})
    with pytest.raises(ValueError, match="env must show what the model observes"):
        turn_around(model, VectorEnvAdapter(pendulums(2, 1.0)))
    assert all(torch.equal(before[name], value) for name, value in model.policy.state_dict().items())
    model.policy.train_only("head")
    with pytest.raises(ValueError, match="model must train its f"):
        turn_around(model)
    with pytest.raises(ValueError, match="model must have signed gates, as of gate_class=SignedKGate; got KGate"):
        turn_around(gated(gate_class=KGate))
    with pytest.raises(ValueError, match="model must have a policy with k_from"):
        turn_around(one_signed())
