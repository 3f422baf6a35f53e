"""Models adapted to a task: PPO models of their own, which leave the training as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.testing import assert_array_equal
from stable_baselines3 import PPO

from nb_agents.maml.actor import StackedActor
from nb_agents.maml.inner import Batch, InnerStep
from tests.nb_agents.maml.goals import GOALS, make, meta_parameters, moved


def test_inner_steps_at_test_time_all_have_the_inner_rate() -> None:
    """CAVIA gave a rate of its own to the first test-time step; learn2learn passed the meta rate (PR #211)."""
    maml = make(inner_lr=0.05, learning_rate=0.5, outer="ppo")
    params, rollouts = maml._run(GOALS, 3, None, 1, evaluate=True)
    double, _ = make(inner_lr=0.1, learning_rate=0.5, outer="ppo")._run(GOALS, 1, None, 1, evaluate=False)
    other_meta_rate, _ = make(inner_lr=0.05, learning_rate=1e-6, outer="ppo")._run(GOALS, 3, None, 1, evaluate=True)
    torch.testing.assert_close(double[1] - double[0], 2 * (params[1] - params[0]))
    assert all(torch.equal(a, b) for a, b in zip(params, other_meta_rate, strict=True))

    for k in range(3):
        batch = Batch.from_rollout(maml._actor, rollouts[k], 0.99, 1.0)
        gradient = InnerStep(maml._actor, params[k], batch, second_order=False).gradient
        torch.testing.assert_close(params[k + 1], params[k] - 0.05 * gradient)


def test_adapting_leaves_the_meta_parameters_and_the_training_untouched() -> None:
    first = make(inner_steps=2).learn(300)
    before = meta_parameters(first)
    model = first.adapt(GOALS[0], steps=3, n_steps=8, batch_size=8)
    assert model.num_timesteps == 3 * 4 * 10
    first.evaluate(GOALS, steps=1)
    assert not moved(before, first)
    model.learn(16)
    assert not moved(before, first)


def test_the_training_goes_on_as_if_nothing_had_been_adapted() -> None:
    first = make(inner_steps=2).learn(300)
    first.adapt(GOALS[0], steps=3)
    first.evaluate(GOALS, steps=1)
    first.learn(300, reset_num_timesteps=False)
    second = make(inner_steps=2).learn(300).learn(300, reset_num_timesteps=False)
    assert not moved(meta_parameters(first), second)


def test_adapting_by_no_step_gives_the_initialisation_as_a_ppo_model() -> None:
    maml = make().learn(200)
    model = maml.adapt(GOALS[0], steps=0)
    assert isinstance(model, PPO)
    assert model.num_timesteps == 0
    observations = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    assert_array_equal(
        model.predict(observations, deterministic=True)[0], maml.predict(observations, deterministic=True)[0]
    )


def test_predict_takes_raw_observations_and_scales_them() -> None:
    maml = make().learn(200)
    mean = maml.policy.features_extractor.mean
    assert mean.abs().max() > 0
    model = maml.adapt(GOALS[0], steps=1)
    assert torch.equal(model.policy.features_extractor.mean, mean)


def test_an_adapted_model_is_saved_and_loaded_by_sb3(tmp_path: Path) -> None:
    model = make().learn(200).adapt(GOALS[0], steps=1)
    model.save(tmp_path / "adapted")
    loaded = PPO.load(tmp_path / "adapted")
    observations = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    for ours, theirs in zip(model.policy.state_dict().values(), loaded.policy.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert_array_equal(
        model.predict(observations, deterministic=True)[0], loaded.predict(observations, deterministic=True)[0]
    )


def test_the_adapted_models_critic_is_fitted_and_its_actor_is_the_inner_loops() -> None:
    maml = make(episodes_per_task=20).learn(1)
    for scale in (1.0, 0.01):
        model = maml.adapt({"goal": (0.3, 0.25)}, steps=2, reward_scale=scale)
        positions = torch.tensor([[0.0, 0.0], [0.3, 0.2], [-0.3, -0.2]])
        with torch.no_grad():
            values = model.policy.predict_values(positions).squeeze(-1) / scale
        # −distance / (1 − γ) at most for ever; nearer to the goal is worth more.
        assert values[1] > values[0] > values[2]
        assert -250 < values[2] < values[1] < 0
    params, _ = maml._run([{"goal": (0.3, 0.25)}], 2, None, None, evaluate=False)
    assert torch.equal(StackedActor(model.policy).get_vector(), params[-1][0])
