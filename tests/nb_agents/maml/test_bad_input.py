"""What is refused at the entry, and that nothing has changed then."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.sac.policies import SACPolicy

import nb_gym  # noqa: F401 - registers the environments
from nb_agents.maml import MAML, MetaSGD, PPOClipUpdate, ReptileUpdate, TRPOUpdate

TASKS = [{"A": 1.0, "frame_skip": 50}, {"A": 1.5, "frame_skip": 50}]


def make(**kwargs: Any) -> MAML:
    settings: dict[str, Any] = {"policy": "MlpPolicy", "env": "NBPendulum-v0", "tasks": TASKS, "episodes_per_task": 2}
    return MAML(**settings | {"seed": 0, "device": "cpu"} | kwargs)


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"A": 1.0}, {"gravity": 9.8}]}, r"tasks\[1\].*gravity"),
        ({"tasks": [{"A": 1.0}, {"A": math.nan}]}, r"tasks\[1\].*A"),
        ({"tasks": [{"observe": "theta"}, {}]}, "observation_space"),
        ({"tasks": [{"max_torque": 2.0}, {"max_torque": 1.0}]}, "action_space"),
        ({"tasks": lambda rng, n: [{}]}, "tasks_per_iteration"),
        ({"tasks": lambda rng, n: [{}], "tasks_per_iteration": 2}, "asked for 2 tasks"),
        ({"tasks": lambda rng, n: [{"A": 1.0}, {"gravity": 1.0}], "tasks_per_iteration": 2}, "gravity"),
        ({"tasks_per_iteration": 3}, "tasks_per_iteration"),
        ({"tasks_per_iteration": 0}, "tasks_per_iteration"),
        ({"inner_steps": 0}, "inner_steps"),
        ({"inner_steps": 1.5}, "inner_steps"),
        ({"episodes_per_task": 0}, "episodes_per_task"),
        ({"inner_lr": 0.0}, "inner_lr"),
        ({"inner_lr": -0.1}, "inner_lr"),
        ({"inner_lr": math.inf}, "inner_lr"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": 1.1}, "gamma"),
        ({"gae_lambda": -0.5}, "gae_lambda"),
        ({"adapt": "body"}, "adapt"),
        ({"adapt": "gates"}, "gates"),
        ({"outer": "sgd"}, "outer"),
        ({"policy": "MlpLstmPolicy"}, "MlpLstmPolicy"),
        ({"policy": RecurrentActorCriticPolicy}, "recurrent"),
        ({"policy": SACPolicy}, "ActorCriticPolicy"),
        ({"policy_kwargs": {"use_sde": True}}, "use_sde"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"tasks": ["A"]}, r"tasks\[0\]"),
        ({"tasks": [{1: 2}]}, r"tasks\[0\]"),
        ({"tasks": None}, "tasks"),
        ({"tasks": {"A": 1.0}}, "tasks"),
        ({"tasks": lambda rng, n: None, "tasks_per_iteration": 2}, "tasks, a sampler"),
        ({"tasks": lambda rng, n: ["A"] * n, "tasks_per_iteration": 2}, r"tasks\[0\]"),
        ({"inner_lr": "fast"}, "inner_lr"),
        ({"env": None}, "env"),
        ({"env": 5}, "env"),
        ({"outer": 5}, "outer"),
        ({"outer": TRPOUpdate}, "outer"),
    ],
)
def test_arguments_of_another_kind_are_refused(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(TypeError, match=named):
        make(**kwargs)


@pytest.mark.parametrize(
    ("odd", "named"),
    [({"observe": "theta"}, "observation_space"), ({"max_torque": 1.0}, "action_space"), ({"gravity": 1.0}, "gravity")],
)
def test_a_sampler_whose_later_tasks_do_not_fit_is_refused_before_anything_changes(
    odd: dict[str, Any], named: str
) -> None:
    """An observation of one number would broadcast against a policy's two, and no one would notice."""
    answers = iter([[{"frame_skip": 50}] * 2, [odd] * 2, [{"frame_skip": 50}] * 2])
    maml = make(tasks=lambda rng, n: next(answers), tasks_per_iteration=2).learn(1)
    before = maml._actor.get_vector()
    with pytest.raises(ValueError, match=named):
        maml.learn(1)
    assert torch.equal(maml._actor.get_vector(), before)
    maml.learn(1)  # the environments of the tasks before were not closed
    assert maml._n_updates == 2


def test_the_tasks_of_a_file_cannot_be_replaced_by_an_environment(tmp_path: Path) -> None:
    make().save(tmp_path / "model")
    with pytest.raises(ValueError, match="env must not be given"):
        MAML.load(tmp_path / "model", env=gym.make("NBPendulum-v0"))


def test_bad_settings_of_outer_updates_are_named() -> None:
    for named, value in [("n_epochs", 0), ("n_epochs", 1.5), ("clip_range", 0.0), ("inner_kl_weight", -1.0)]:
        with pytest.raises(ValueError, match=named):
            PPOClipUpdate(**{named: value})  # type: ignore[arg-type]
    for value in (0.0, 1.5):
        with pytest.raises(ValueError, match="step_size"):
            ReptileUpdate(step_size=value)
    with pytest.raises(ValueError, match="learn_inner_lr"):
        MetaSGD("MlpPolicy", "NBPendulum-v0", TASKS, outer="reptile")


def test_bad_calls_are_named() -> None:
    maml = make()
    with pytest.raises(ValueError, match="total_timesteps"):
        maml.learn(0)
    with pytest.raises(ValueError, match="steps"):
        maml.adapt(TASKS[0], steps=-1)
    with pytest.raises(ValueError, match="episodes"):
        maml.adapt(TASKS[0], episodes=0)
    with pytest.raises(ValueError, match="gravity"):
        maml.adapt({"gravity": 1.0})
    with pytest.raises(ValueError, match="gravity"):
        maml.adapt({"gravity": 1.0}, env=gym.make("NBPendulum-v0"))
    with pytest.raises(ValueError, match="observation_space of task"):
        maml.adapt({"observe": "theta"})
    with pytest.raises(ValueError, match=r"tasks\[0\]"):
        maml.evaluate([{"gravity": 1.0}])
    with pytest.raises(ValueError, match=r"action_space of tasks\[0\]"):
        maml.evaluate([{"max_torque": 1.0}])
    with pytest.raises(ValueError, match="no tasks"):
        maml.evaluate([])


class Fragile(gym.Env[Any, Any]):
    """Breaks in its n-th episode."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, broken: str, healthy_episodes: int = 0) -> None:
        self.broken, self.healthy, self.episodes = broken, healthy_episodes, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episodes += 1
        self.steps = 0
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        bad = math.nan if self.episodes > self.healthy and self.steps == 3 else 0.0
        observation = np.array([action[0] + (bad if self.broken == "observations" else 0.0)], dtype=np.float32)
        return observation, float(action[0]) + (bad if self.broken == "rewards" else 0.0), False, self.steps >= 5, {}


class SaveAlways(BaseCallback):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_rollout_start(self) -> None:
        self.model.save(self.path)

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("broken", ["observations", "rewards"])
@pytest.mark.parametrize("outer", ["trpo", "ppo", "reptile"])
def test_a_nan_in_a_rollout_stops_the_training_before_anything_is_updated(
    broken: str, outer: str, tmp_path: Path
) -> None:
    # One meta-iteration and SB3's own reset use up the healthy episodes; the next meta-iteration breaks.
    tasks = [{"broken": broken, "healthy_episodes": 3 if outer != "reptile" else 2}] * 2
    maml = MAML("MlpPolicy", Fragile, tasks, outer=outer, episodes_per_task=2, seed=0, device="cpu")
    with pytest.raises(FloatingPointError, match=f"{broken} must be finite"):
        maml.learn(10_000, callback=SaveAlways(tmp_path / "good.zip"))
    assert maml._n_updates == 1
    good = MAML.load(tmp_path / "good.zip")
    for name, value in maml.policy.state_dict().items():
        assert torch.isfinite(value).all()
        assert torch.equal(value, good.policy.state_dict()[name])


def test_an_interrupted_save_leaves_the_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maml = make()
    maml.save(tmp_path / "model.zip")
    good = (tmp_path / "model.zip").read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        maml.save(tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["model.zip"]


class Diverging(PPOClipUpdate):
    """Takes its step, then returns what is not a number."""

    def update(self, data: Any, meta: Any, adaptation: Any, optimize: Any) -> Any:
        new, logs = super().update(data, meta, adaptation, optimize)
        return new.replace(new.vector * math.nan), logs


def test_an_update_that_is_not_finite_is_not_kept() -> None:
    maml = make(outer=Diverging(), learn_inner_lr=True)
    before, rates = maml._actor.get_vector(), maml.inner_rates.clone()
    with pytest.raises(FloatingPointError, match="outer update"):
        maml.learn(100)
    assert torch.equal(maml._actor.get_vector(), before)
    assert torch.equal(maml.inner_rates, rates)
    assert not maml.policy.optimizer.state
    assert not maml.rates_optimizer.state
