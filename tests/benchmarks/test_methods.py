import numpy as np
import pytest
import torch

from benchmarks.environments import make_training_env
from benchmarks.methods import METHODS, count_adapted, find_method
from benchmarks.settings import SACSettings
from nb_agents.gates import named_gates


def transferred(spec):
    """A model at the start of its transfer, with its parameters at that moment."""
    method = METHODS[spec.method]
    model = method.build(spec, make_training_env(spec, spec.source), spec.source)
    model.learn(1000 // spec.settings.frame_skip)
    method.begin_transfer(spec, model, make_training_env(spec, spec.target))
    return model, {name: parameter.detach().clone() for name, parameter in model.policy.named_parameters()}


def changed(model, before):
    return {name for name, parameter in model.policy.named_parameters() if not torch.equal(parameter, before[name])}


def test_only_k_changes_what_nb_pro_k_does(quick_spec):
    model, before = transferred(quick_spec(method="nb-pro-k"))
    gates = {f"{name}.k" for name, _ in named_gates(model.policy)}
    model.learn(2000 // 20, reset_num_timesteps=False)
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
    original = METHODS["nb-pro"].build(quick_spec(), make_training_env(quick_spec(), {}), {}).policy
    original.load_state_dict(model.policy.state_dict() | before)
    np.testing.assert_array_equal(restored, original.predict(observations, deterministic=True)[0])


@pytest.mark.parametrize("name", ["nb", "nb-pro", "fine-tune"])
def test_everything_changes_elsewhere(quick_spec, name):
    model, before = transferred(quick_spec(method=name))
    model.learn(2000 // 20, reset_num_timesteps=False)
    assert changed(model, before) == set(before)


def test_numbers_adapted(quick_spec):
    """Two hidden layers of 16 on 4 channels: one k per layer, and one per block of 16."""
    weights = (4 + 1) * 16 + (16 + 1) * 16 + (16 + 1)
    expected = {"nb": weights + 2, "nb-pro": weights + 4, "nb-k": 2, "nb-pro-k": 4, "fine-tune": weights}
    for name, count in expected.items():
        assert count_adapted(transferred(quick_spec(method=name))[0].policy) == count, name


def test_gated_policies_are_told_the_difficulty(quick_spec):
    spec = quick_spec(source={"A": 1.2}, target={"A": 1.6})
    method = METHODS["nb-pro"]
    model = method.build(spec, make_training_env(spec, spec.source), spec.source)
    assert model.policy.task_difficulty == pytest.approx(0.25)
    method.begin_transfer(spec, model, make_training_env(spec, spec.target))
    assert model.policy.task_difficulty == pytest.approx(0.75)


def test_the_optimizer_starts_afresh(quick_spec):
    model, _ = transferred(quick_spec())
    assert not model.policy.optimizer.state


@pytest.mark.parametrize("method", ["nb-pro-k", "fine-tune"])
def test_the_optimizers_of_sac_start_afresh_and_its_coefficient_goes_on(quick_spec, method):
    settings = SACSettings(frame_skip=20, learning_starts=10, gradient_steps=1, batch_size=8, net_arch=(8, 8))
    spec = quick_spec(method=method, algo="sac", settings=settings)
    model = METHODS[method].build(spec, make_training_env(spec, spec.source), spec.source)
    model.learn(50)
    optimizers = (model.actor.optimizer, model.critic.optimizer, model.ent_coef_optimizer)
    coefficient = model.log_ent_coef.detach().clone()
    assert all(optimizer.state for optimizer in optimizers)
    METHODS[method].begin_transfer(spec, model, make_training_env(spec, spec.target))
    assert not any(optimizer.state for optimizer in optimizers)
    assert torch.equal(model.log_ent_coef.detach(), coefficient)


def test_unknown_method():
    with pytest.raises(ValueError, match=r"method must be one of nb, nb-pro, .*; got 'magic'"):
        find_method("magic")
