"""A conditioned model in one context, as a model that goes on learning, exports and is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DQN, PPO, SAC, TD3

import nb_agents
from nb_agents import ContextDifficulty, KGatedPolicy, SignedKGate, export_onnx, fold_gates, transfer
from tests.nb_agents.inference.models import DICT, FLAT, batch, make_env, make_model, with_context
from tests.nb_agents.shared import Pictures
from tests.nb_agents.surgery.test_searching import ON, hidden

HERE = np.float32([0.5, -1.0])


def conditioned(**policy_kwargs: Any) -> Any:
    return make_model(PPO, KGatedPolicy, False, ON, **policy_kwargs).learn(16)


@pytest.mark.parametrize(
    ("algorithm", "policy", "key", "settings"),
    [case for case in FLAT if case[0] in (PPO, SAC, TD3, DQN, TQC, QRDQN)]
    + [case for case in DICT if case[0] in (PPO, SAC)],
)
def test_it_acts_as_told_the_context_and_learns_by_its_ks_alone(
    algorithm: Any, policy: Any, key: bool, settings: Any, tmp_path: Path
) -> None:
    teacher = make_model(algorithm, policy, key, settings).learn(16)
    observations = batch(teacher)
    bare = observations["observation"] if key else observations[:, :-2]
    acted = teacher.predict(with_context(observations, HERE), deterministic=True)[0]
    known = nb_agents.at(teacher, HERE, hidden(discrete=algorithm in (DQN, QRDQN)))
    assert type(known) is algorithm
    assert known.num_timesteps == teacher.num_timesteps
    np.testing.assert_allclose(known.predict(bare, deterministic=True)[0], acted, atol=1e-5)
    known.policy.train_only("gates")
    before = {name: value.detach().clone() for name, value in known.policy.named_parameters()}
    known.learn(40, reset_num_timesteps=False)
    moved = {n for n, p in known.policy.named_parameters() if not torch.equal(p, before[n]) and "_target" not in n}
    assert {name for name in moved if not name.startswith(("critic", "value", "mlp_extractor.value"))} == {
        f"{name}.k" for name in known.policy.gates
    }
    known.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", device="cpu")
    np.testing.assert_array_equal(*(each.predict(bare, deterministic=True)[0] for each in (loaded, known)))


def test_the_plain_policy_and_what_is_folded_of_it_export_and_the_model_is_transferred(tmp_path: Path) -> None:
    teacher = conditioned(gate_class=SignedKGate)
    bare = batch(teacher)[:, :-2]
    plain = teacher.policy.at(HERE)
    wanted = plain.predict(bare, deterministic=True)[0]
    for policy in (plain, fold_gates(plain)):
        export_onnx(policy, tmp_path / "policy.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(["action"], {"obs": bare})[0], wanted, atol=1e-5)
    moved = transfer(nb_agents.at(teacher, HERE, hidden()), hidden(), 8, n_eval_episodes=1)
    assert moved.battery is not None
    torch.testing.assert_close(moved.battery["source"], torch.cat([gate.k for gate in plain.gates.values()]))


def test_a_policy_that_was_found_takes_the_place_of_numbers_and_tau_is_that_of_the_context() -> None:
    teacher = conditioned(k_target_weight=0.1, task_difficulty=ContextDifficulty(0, 0.0, 1.0))
    plain = teacher.policy.at(HERE)
    with torch.no_grad():
        next(iter(plain.gates.values())).k += 1.0
    known = nb_agents.at(teacher, plain, hidden())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(known.policy.state_dict()[name], value, rtol=0.0, atol=0.0)
    assert known.policy.task_difficulty == 0.5


def test_what_does_not_fit_is_refused() -> None:
    teacher = conditioned()
    plain = teacher.policy.at(HERE)
    for model, error, message in (
        (teacher.policy, TypeError, "model must be a Stable-Baselines3 model, got KGatedPolicy"),
        (PPO("MlpPolicy", hidden(), device="cpu"), ValueError, "model must have a policy with k_from"),
    ):
        with pytest.raises(error, match=message):
            nb_agents.at(model, HERE, hidden())
    other = conditioned(net_arch=[16, 16]).policy.at(HERE)
    for context, error, message in (
        (teacher.policy, TypeError, "context must be numbers or a k-gated policy without k_from, got a KGatedPolicy"),
        (fold_gates(plain), TypeError, "got a ActorCriticPolicy"),
        (other, ValueError, "context must be a policy with the layers of the model's; others are .*policy_net.0.bias"),
        ([1.0], ValueError, "context must be 2 finite numbers"),
    ):
        with pytest.raises(error, match=message):
            nb_agents.at(teacher, context, hidden())
    with pytest.raises(ValueError, match=r"env must show .* without 'context'"):
        nb_agents.at(teacher, HERE, make_env())


def test_an_image_that_is_left_of_a_dictionary_is_read_as_one() -> None:
    teacher = PPO("KGatedMultiInputPolicy", Pictures(told=True), policy_kwargs={"k_from": "context"}, seed=0, **ON)
    observations = with_context(batch(teacher), HERE)
    acted = teacher.predict(observations, deterministic=True)[0]
    plain = teacher.policy.at(HERE)  # type: ignore[operator]
    for made in (plain, fold_gates(plain), nb_agents.at(teacher, HERE, Pictures(told=False)).policy):
        found = made.predict(observations["observation"], deterministic=True)[0]
        np.testing.assert_allclose(found, acted, atol=1e-5)
    assert type(plain) is nb_agents.KGatedCnnPolicy
    guessing = nb_agents.searching(teacher, Pictures(told=False), HERE)
    np.testing.assert_allclose(guessing.predict(observations["observation"], deterministic=True)[0], acted, atol=1e-5)
