"""LoRA in SB3's policies: neutral at first, alone in moving, and the same as what peft does by itself."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.envs import FakeImageEnv
from torch import nn

from nb_agents import PAPER, Battery, KGatedCnnPolicy, KGatedPolicy, KGatedSACCnnPolicy, fold_gates, retrofit, transfer
from nb_agents.adapters.lora import adaptable_layers, lora_layers, merge_lora, put_lora
from nb_agents.policies.optim import optimized_parts
from tests.nb_agents.adapters.models import PLAIN, changed, make, make_plain, observations, outputs, shake, state
from tests.nb_agents.inference.models import make_model


@pytest.mark.parametrize("name", PLAIN)
def test_a_loaded_model_acts_as_before_to_the_last_bit(name: str, tmp_path: Path) -> None:
    trained = make_plain(name).learn(32)
    trained.save(tmp_path / "zoo")
    plain = type(trained).load(tmp_path / "zoo", env=trained.env, device="cpu")
    before = torch.get_rng_state()
    model = retrofit(plain, lora_rank=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(outputs(model), outputs(plain))
    assert len(lora_layers(model.policy)) == (6 if name in ("TD3", "DQN") else 3), "target networks have them, too"
    assert all(p.requires_grad for p in model.policy.parameters()), "peft's freezing is taken back"
    model.learn(32, reset_num_timesteps=False)


@pytest.mark.parametrize("name", PLAIN)
def test_they_train_alone_with_the_rate_of_the_ks_and_go_on_after_loading(name: str, tmp_path: Path) -> None:
    model = make(name)
    model.policy.train_only("lora", log_std=None if name in ("TD3", "DQN") else False)
    before = state(model.policy)
    model.learn(64, reset_num_timesteps=False)
    moved = changed(model.policy, before)
    source = {
        key for key in moved if not key.startswith(("critic", "value_net", "mlp_extractor.value")) and "_t" not in key
    }
    assert source == {key for key in before if ".lora_" in key and "_target" not in key}
    (group,) = (
        group
        for part in optimized_parts(model.policy).values()
        for group in part.optimizer.param_groups
        if group.get("name") == "gates"
    )
    assert group["lr_ratio"] == 5.0
    assert len(group["params"]) == 2 + 6
    model.save(tmp_path / "model")
    later = type(model).load(tmp_path / "model", env=model.env, device="cpu")
    assert later.policy.trains == "lora"
    assert np.array_equal(outputs(later), outputs(model))
    before = state(later.policy)
    later.learn(32, reset_num_timesteps=False)
    assert any(".lora_A." in key for key in changed(later.policy, before))
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy", device="cpu")
    assert not changed(loaded, state(model.policy))
    part = getattr(model.policy, "actor", None) or getattr(model.policy, "q_net", None)
    if part is not None:
        part.save(tmp_path / "part")
        assert not changed(type(part).load(tmp_path / "part", device="cpu"), state(part))


@pytest.mark.parametrize("name", PLAIN)
def test_gates_and_products_fold_into_the_plain_policy(name: str) -> None:
    model = make(name, rank=3, lora_alpha=1.5)
    shake(model.policy)
    before = state(model.policy)
    folded = fold_gates(model)
    plain = make_plain(name)
    assert type(folded.policy) is type(plain.policy)
    assert folded.policy.state_dict().keys() == plain.policy.state_dict().keys()
    expected = outputs(model)
    np.testing.assert_allclose(outputs(folded), expected, atol=1e-5 * np.abs(expected).max())
    assert not np.allclose(expected, outputs(plain), atol=1e-2)
    assert not changed(model.policy, before)
    folded.learn(32, reset_num_timesteps=False)


def test_parity_with_peft_by_itself() -> None:
    model = make("PPO", rank=2, lora_alpha=3.0)
    shake(model.policy)
    with torch.no_grad():
        for gate in model.policy.gates.values():
            gate.k.zero_()
    alone = make_plain("PPO").policy
    names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, lora_alpha=3.0, target_modules=names), alone)
    own = model.policy.state_dict()
    alone.load_state_dict({key: own[key.replace(".1.activation", ".1")] for key in alone.state_dict()})
    seen = torch.as_tensor(observations(model))
    for policy in (model.policy, alone):
        policy.zero_grad()
        policy.get_distribution(seen).distribution.mean.square().sum().backward()
    assert torch.equal(model.policy.get_distribution(seen).mode(), alone.get_distribution(seen).mode())
    theirs = {key: p.grad for key, p in alone.named_parameters() if ".lora_" in key}
    ours = {key: p.grad for key, p in model.policy.named_parameters() if ".lora_" in key}
    assert theirs.keys() == ours.keys()
    for key, grad in theirs.items():
        torch.testing.assert_close(ours[key], grad)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_convolutions_and_shared_extractors(algorithm: Any, share: bool) -> None:
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=False)
    policy = KGatedCnnPolicy if algorithm is PPO else KGatedSACCnnPolicy
    settings = {"n_steps": 8, "batch_size": 8} if algorithm is PPO else {"learning_starts": 4, "buffer_size": 50}
    extractor = {"features_extractor_kwargs": {"features_dim": 16}, "share_features_extractor": share}
    kwargs = {"net_arch": [8], "lora_rank": 2, **extractor}
    model = algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **settings)
    model.policy.train_only("lora", log_std=False)
    before = state(model.policy)
    model.learn(16)
    moved = changed(model.policy, before)
    acting = {key for key in before if ".lora_" in key and not key.startswith(("critic", "vf_"))}
    assert acting <= moved
    assert {key for key in moved if key.startswith(("actor.", "action_net", "pi_"))} <= acting
    assert sum("cnn" in key for key in acting) >= 6
    seen = observations(model, 3)
    np.testing.assert_allclose(outputs(fold_gates(model), seen), outputs(model, seen), atol=1e-5)


def test_contrib_policies() -> None:
    contrib = pytest.importorskip("sb3_contrib")
    on_policy = {"n_steps": 16, "batch_size": 16, "policy_kwargs": {"net_arch": [16]}, "seed": 0, "device": "cpu"}
    plain = contrib.RecurrentPPO("MlpLstmPolicy", "Pendulum-v1", **on_policy)
    recurrent = retrofit(plain, lora_rank=2)
    assert np.array_equal(outputs(recurrent), outputs(plain))
    assert not any("lstm" in path for path in lora_layers(recurrent.policy)), "peft has no adapter for an LSTM"
    recurrent.policy.train_only("lora")
    recurrent.learn(16)
    np.testing.assert_allclose(outputs(fold_gates(recurrent)), outputs(recurrent), atol=1e-5)
    trpo = retrofit(contrib.TRPO("MlpPolicy", "Pendulum-v1", **on_policy | {"batch_size": 8}), lora_rank=2)
    trpo.policy.train_only("lora")
    before = state(trpo.policy)
    trpo.learn(16)
    moved = {key for key in changed(trpo.policy, before) if "value" not in key}
    assert moved - {"log_std"} <= {key for key in before if ".lora_" in key}
    assert any(".lora_B." in key for key in moved)
    with pytest.raises(ValueError, match="lora_rank must be None in a KGatedARSPolicy, which is trained without"):
        retrofit(contrib.ARS("MlpPolicy", "Pendulum-v1", n_delta=1, n_top=1), lora_rank=2)


def test_a_network_without_hidden_layers_has_them_on_its_output() -> None:
    kwargs = {"net_arch": [], "lora_rank": 1}
    with pytest.warns(UserWarning, match="no hidden layer"):
        model = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs=kwargs, n_steps=16, batch_size=16, device="cpu")
    shake(model.policy)
    assert list(lora_layers(model.policy)) == ["action_net"]
    np.testing.assert_allclose(outputs(fold_gates(model)), outputs(model), atol=1e-6)


def test_modules_of_any_kind() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 3))
    x, plain = torch.randn(5, 2, 8, 8), copy.deepcopy(net)
    put_lora(net, adaptable_layers(net), 2, 4.0)
    assert list(lora_layers(net)) == ["0", "4"], "layers of several groups are left alone"
    assert torch.equal(net(x), plain(x))
    shake(net)
    folded = fold_gates(net, example_inputs=(x,))
    assert folded.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(folded(x), net(x), atol=1e-4, rtol=1e-4)
    assert "peft_config" not in vars(merge_lora(copy.deepcopy(net)))


def test_a_transfer_keeps_both_sets() -> None:
    model = make()
    acted = outputs(model)
    moved = transfer(model, model.env, 32, "lora", n_eval_episodes=1)
    assert [*moved.battery] == ["source", "target"]
    assert not np.array_equal(outputs(model), acted)
    moved.battery.apply("source")
    assert np.array_equal(outputs(model), acted)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"lora_rank": 0}, ValueError, "lora_rank must be an integer >= 1, got 0"),
        ({"lora_rank": 2.0}, ValueError, "lora_rank must be an integer >= 1, got 2.0"),
        ({"lora_rank": 2, "lora_alpha": 0}, ValueError, "lora_alpha must be > 0, got 0"),
        ({"lora_rank": 2, "lora_alpha": "1"}, TypeError, "lora_alpha must be a number"),
        ({"lora_alpha": 2.0}, ValueError, "lora_alpha must be None without lora_rank, got 2.0"),
    ],
)
def test_bad_input(kwargs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        retrofit(make_plain(), **kwargs)


def test_computed_ks_and_a_missing_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="lora_rank must be None with k_from"):
        make_model(PPO, KGatedPolicy, False, {"n_steps": 8, "batch_size": 8}, lora_rank=2)
    with pytest.raises(ValueError, match=r"nothing that train_only\('lora'\) could train: pass policy_kwargs"):
        retrofit(make_plain()).policy.train_only("lora")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"neural-battery\[adapters\]"):
        retrofit(make_plain(), lora_rank=2)


@pytest.mark.parametrize("gates", [{"k_init": 0.7}, {"gate_max": 1.5}, dict(PAPER)])
def test_gates_that_do_not_start_at_1_are_made_up_for(gates: dict[str, Any]) -> None:
    plain = make_plain("PPO")
    model = retrofit(plain, lora_rank=2, **gates)
    np.testing.assert_allclose(outputs(model), outputs(plain), rtol=1e-5, atol=1e-6)
    assert len(lora_layers(model.policy)) == 3


def test_transformer_layers_are_left_out_as_they_read_their_weights_themselves() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert adaptable_layers(nn.Sequential(layer, nn.Linear(8, 3))) == ["1"]


def test_a_layer_in_two_places_and_a_shared_weight_are_refused() -> None:
    twice, tied = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    for network in (nn.Sequential(twice, nn.ReLU(), twice), tied):
        with pytest.raises(ValueError, match="must stand in one place alone, and share no weight"):
            put_lora(network, ["0"], 1, 1.0)
        assert lora_layers(network) == {}


def test_a_disabled_adapter_is_refused() -> None:
    model = make("PPO")
    next(iter(lora_layers(model.policy).values())).enable_adapters(False)
    with pytest.raises(ValueError, match="active and not merged"):
        Battery(model, "lora")
