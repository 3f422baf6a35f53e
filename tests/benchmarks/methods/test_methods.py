import numpy as np
import pytest
import torch

from benchmarks.methods import METHODS, find_method, specify
from benchmarks.methods.kinds.base import count_adapted
from benchmarks.methods.kinds.gradient import HIDDEN_LAYERS
from benchmarks.protocol.environments import make_training_env
from benchmarks.protocol.recorder import Recorder
from benchmarks.protocol.settings import MetaSettings, PPOSettings, SACSettings
from nb_agents import KGatedMixin
from nb_agents.gates.gate import named_gates

QUICK_SAC = SACSettings(frame_skip=20, learning_starts=10, gradient_steps=1, batch_size=8, net_arch=(8, 8))


def transferred(spec):
    """A model at the start of its transfer, with its parameters at that moment."""
    method = METHODS[spec.method]
    model = method.begin_transfer(spec, method.pretrain(spec), Recorder(spec))
    return model, {name: parameter.detach().clone() for name, parameter in model.policy.named_parameters()}


def go_on(model):
    model.learn(2000 // 20, reset_num_timesteps=False)


def changed(model, before):
    return {name for name, parameter in model.policy.named_parameters() if not torch.equal(parameter, before[name])}


def test_only_k_changes_what_nb_pro_k_does(quick_spec):
    model, before = transferred(quick_spec(method="nb-pro-k"))
    gates = {f"{name}.k" for name, _ in named_gates(model.policy)}
    go_on(model)
    moved = changed(model, before)
    assert gates <= moved
    actor = {name for name in before if "policy_net" in name or "action_net" in name}
    assert moved & actor == gates
    assert any("value_net" in name for name in moved)  # PPO cannot do without a critic that follows

    with torch.no_grad():  # with its old k's back, the policy is the old policy, to the last bit
        for name, parameter in model.policy.named_parameters():
            if name in gates:
                parameter.copy_(before[name])
    observations = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    restored, _ = model.policy.predict(observations, deterministic=True)
    original, _ = transferred(quick_spec(method="nb-pro-k"))
    np.testing.assert_array_equal(restored, original.policy.predict(observations, deterministic=True)[0])


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_only_the_last_layer_changes_what_head_does(quick_spec, algo):
    settings = {} if algo == "ppo" else {"settings": QUICK_SAC}
    model, before = transferred(quick_spec(method="head", algo=algo, **settings))
    go_on(model)
    hidden = {name for name in before if name.startswith(HIDDEN_LAYERS[algo])}
    moved = changed(model, before)
    assert hidden
    assert not moved & hidden
    assert {name for name in before if name.startswith(("action_net", "actor.mu"))} <= moved
    assert any("value_net" in name or name.startswith("critic.") for name in moved)


@pytest.mark.parametrize("name", ["nb", "nb-pro", "fine-tune", "fine-tune-folded"])
def test_everything_changes_elsewhere(quick_spec, name):
    model, before = transferred(quick_spec(method=name))
    go_on(model)
    assert changed(model, before) == set(before)


def test_numbers_adapted(quick_spec):
    """Two hidden layers of 16 on 4 channels: one k per layer, and one per block of 16."""
    weights = (4 + 1) * 16 + (16 + 1) * 16 + (16 + 1)
    expected = {"nb": weights + 2, "nb-pro": weights + 4, "nb-k": 2, "nb-pro-k": 4, "fine-tune": weights, "head": 17}
    for name, count in expected.items():
        assert count_adapted(transferred(quick_spec(method=name))[0].policy) == count, name


def test_a_folded_start_is_the_gated_one_without_gates(quick_spec):
    spec = quick_spec()
    env = make_training_env(spec.settings, spec.source)
    gated, folded, plain = (
        METHODS[name].build(spec, env, spec.settings, 0.0).policy
        for name in ("nb-pro", "fine-tune-folded", "fine-tune")
    )
    assert not isinstance(folded, KGatedMixin)
    observations = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    actions = [policy.predict(observations, deterministic=True)[0] for policy in (gated, folded, plain)]
    np.testing.assert_allclose(actions[0], actions[1], rtol=1e-4, atol=1e-7)
    assert np.abs(actions[1] - actions[2]).max() > 1e-4


def test_gated_policies_are_told_the_difficulty(quick_spec):
    spec = quick_spec(source={"A": 1.2}, target={"A": 1.6})
    pretrained = METHODS["nb-pro"].pretrain(spec)
    assert pretrained.model.policy.task_difficulty == pytest.approx(0.25)
    model = METHODS["nb-pro"].begin_transfer(spec, pretrained, Recorder(spec))
    assert model.policy.task_difficulty == pytest.approx(0.75)
    assert pretrained.model.policy.task_difficulty == pytest.approx(0.25)


@pytest.mark.parametrize("method", ["nb-pro-k", "fine-tune", "head", "maml"])
def test_a_pretrained_model_can_be_shared(quick_spec, method):
    """A transfer leaves no trace in what it started from."""
    spec = quick_spec(method=method)
    pretrained = METHODS[method].pretrain(spec)
    before = {name: value.clone() for name, value in pretrained.model.policy.state_dict().items()}
    scale = pretrained.rewards.var.copy()
    for _ in range(2):
        recorder = Recorder(spec)
        model = METHODS[method].begin_transfer(spec, pretrained, recorder)
        METHODS[method].transfer(spec, model, recorder)
    after = pretrained.model.policy.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    np.testing.assert_array_equal(pretrained.rewards.var, scale)


def test_the_optimizer_starts_afresh(quick_spec):
    model, _ = transferred(quick_spec())
    assert not model.policy.optimizer.state


@pytest.mark.parametrize("method", ["nb-pro-k", "fine-tune"])
def test_the_optimizers_of_sac_start_afresh_and_its_coefficient_goes_on(quick_spec, method):
    spec = quick_spec(method=method, algo="sac", settings=QUICK_SAC)
    pretrained = METHODS[method].pretrain(spec)
    old = pretrained.model
    assert all(each.state for each in (old.actor.optimizer, old.critic.optimizer, old.ent_coef_optimizer))
    model = METHODS[method].begin_transfer(spec, pretrained, Recorder(spec))
    assert not any(each.state for each in (model.actor.optimizer, model.critic.optimizer, model.ent_coef_optimizer))
    assert torch.equal(model.log_ent_coef.detach(), old.log_ent_coef.detach())
    assert model.replay_buffer.size() == 0
    assert model.num_timesteps == old.num_timesteps


def test_randomisation_covers_what_lies_between(quick_spec):
    spec = quick_spec(method="randomised", source={"A": 1.0}, target={"A": 1.8, "torque_gain": -1.0})
    model = METHODS["randomised"].begin_transfer(spec, None, Recorder(spec))
    drives, gains = [], []
    for _ in range(20):
        model.env.reset()
        (context, *_) = model.env.get_attr("context")
        drives.append(context.A)
        gains.append(context.torque_gain)
    for values, low, high in ((drives, 1.0, 1.8), (gains, -1.0, 1.0)):
        assert low <= np.min(values) < low + 0.3 * (high - low)
        assert high - 0.3 * (high - low) < np.max(values) <= high


def test_unknown_method():
    with pytest.raises(ValueError, match=r"method must be one of nb, nb-pro, .*; got 'magic'"):
        find_method("magic")


def test_a_method_that_the_algorithm_does_not_have():
    with pytest.raises(ValueError, match=r"method maml is defined for ppo; got the algorithm 'sac'"):
        specify("maml", seed=0, algo="sac")


def test_specifying_fills_in_the_tuned_settings():
    assert specify("nb", seed=0).settings == PPOSettings()
    assert specify("nb", seed=0, algo="sac").settings == SACSettings()
    assert specify("nb", seed=0).meta is None
    short, long = specify("maml", seed=0), specify("maml", seed=0, pretrain_episodes=5000)
    assert short.meta is not None
    assert long.meta is not None
    given = MetaSettings(inner_steps=1)
    assert specify("maml", seed=0, meta=given).meta == given
