"""The search in environments: a k-set to a row, the best tried again, resumed, kept in a battery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nb_agents import Battery, FingerprintError, KGatedPolicy, KGatedSACPolicy, SignedKGate, VectorEnvAdapter, search_k
from nb_agents.adaptation import search
from nb_agents.adaptation.evolution import Evolution
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.returns import first_episodes
from tests.nb_agents.inference.test_distill import pendulums, shown_signs

SMALL: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "seed": 0, "device": "cpu"}


class Goal(gym.Env[Any, Any]):
    """One decision: the reward is less the farther the action is from the goal, with noise."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (2,)), spaces.Box(-9.0, 9.0, (1,))

    def __init__(self, goal: float = 2.0, noise: float = 0.0) -> None:
        self.goal, self.noise = goal, noise

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.ones(2, np.float32), {}

    def step(self, action: Any) -> Any:
        reward = -abs(float(action[0]) - self.goal) + self.noise * self.np_random.normal()
        return np.ones(2, np.float32), float(reward), True, False, {"cost": float(action[0])}


def goals(n: int, **kwargs: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: Goal(**kwargs)] * n)


def reaching(env: Any, cls: Any = PPO, policy: Any = KGatedPolicy, **settings: Any) -> Any:
    """A model with two numbers, whose action is a few times their gates."""
    kwargs = {"net_arch": [4, 4], "block_size": None}
    model = cls(policy, env, policy_kwargs=kwargs, **{"seed": 0, "device": "cpu"} | settings)
    last = model.policy.action_net if cls is PPO else model.policy.actor.mu
    with torch.no_grad():
        last.weight.fill_(0.2)
        last.bias.fill_(0.5)
    return model


@pytest.mark.parametrize("n", [1, 3, 8])
def test_candidates_are_played_side_by_side_and_each_gets_its_own_return(n: int) -> None:
    model = reaching(goals(n))
    found = search_k(model, goals(n), 48)
    assert found.scores.shape == found.tried.shape == (48,)
    assert found.tried[0] == 0
    assert found.score > max(found.scores[found.tried == 0].mean(), -1.5)
    before = found.battery["start"]
    found.battery.apply("found")
    np.testing.assert_array_equal(found.battery["found"].numpy(), found.values.astype(np.float32))
    for policy in (model.policy, found.policy):
        np.testing.assert_allclose(first_episodes(policy, goals(n), 0), found.score, rtol=1e-6)
    assert not torch.equal(before, found.battery["found"])
    assert f"2 numbers searched in 48 episodes: return {found.scores[0]:.1f}"[:41] in str(found)


def test_rows_are_the_candidates_that_one_environment_would_have_played_one_by_one() -> None:
    """Without noise the first generation's returns are the same, however many are played at once."""
    model = reaching(goals(5))
    many, one = search_k(model, goals(5), 5, confirm=0), search_k(model, Goal(), 5, confirm=0, population=5)
    np.testing.assert_array_equal(many.tried, np.arange(5))
    np.testing.assert_allclose(many.scores, one.scores, rtol=1e-6)
    assert len(set(many.scores.round(4))) == 5


def test_a_lucky_episode_does_not_win() -> None:
    """The mean of those that were tried again decides, and the start is one of the candidates."""
    evolution = Evolution(np.zeros(2), 1.0, 4, np.random.default_rng(0))
    scores = [0.0, 9.0, 1.0, 2.0, -1.0]
    for score in scores:
        index = evolution.next()
        assert index is not None
        evolution.tell(index, score)
    assert evolution.best() == 1
    assert evolution.again(3) == [1, 3, 2]
    for index, score in ((1, -9.0), (3, 2.0)):
        evolution.tell(index, score)
    assert evolution.again(1) == [2]
    assert evolution.best(2) == 3
    assert evolution.best(3) == 3  # of all by their means, where none was tried as often
    assert evolution.next() == 5


def test_where_nothing_is_better_the_start_stays() -> None:
    """All k-sets are worth the same but for the noise: the start's first episode was lucky."""
    plain = reaching(goals(1)).policy
    lucky = iter([5.0] + [0.0] * 15 + [4.0] * 99)
    found = search_k(plain, lambda _: next(lucky), 20, confirm=4)
    assert found.best == 0
    assert found.score == pytest.approx(np.mean(found.scores[found.tried == 0]))
    np.testing.assert_array_equal(found.values, [0.0, 0.0])


def test_the_best_is_tried_again_within_the_budget() -> None:
    found = search_k(reaching(goals(1)), Goal(noise=1.0), 30, confirm=9, seed=3)
    counts = np.bincount(found.tried)
    assert counts.sum() == 30
    assert len(counts) == 21
    assert counts.max() >= 3
    assert counts[found.best] >= 2
    assert found.score == pytest.approx(found.scores[found.tried == found.best].mean())


class Bar:
    """Counts as tqdm's bar does."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def update(self, n: int) -> None:
        self.done += n

    def refresh(self) -> None: ...

    def close(self) -> None: ...


def test_an_interrupted_search_goes_on_to_the_same_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = reaching(goals(4)), tmp_path / "search.pt"

    def run(**kwargs: Any) -> Any:
        return search_k(model, goals(4, noise=0.5), 32, seed=1, **kwargs)

    whole, plays = run(), []
    made = search._rows

    def broken(*args: Any) -> Any:
        play = made(*args)

        def once(candidates: Any, done: int) -> Any:
            if len(plays) == 4:
                raise KeyboardInterrupt
            plays.append(done)
            return play(candidates, done)

        return once

    monkeypatch.setattr(search, "_rows", broken)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=path)
    plays.clear()
    again = run(checkpoint=path)
    assert plays == [16, 20, 24, 28]
    monkeypatch.setattr(search, "_rows", made)
    np.testing.assert_array_equal(again.scores, whole.scores)
    np.testing.assert_array_equal(again.values, whole.values)
    done = path.read_bytes()
    bars: list[Bar] = []
    monkeypatch.setattr(
        "stable_baselines3.common.callbacks.tqdm", lambda **kwargs: bars.append(Bar(**kwargs)) or bars[-1]
    )
    assert run(checkpoint=path, progress_bar=True).score == whole.score
    assert run(progress_bar=True).score == whole.score
    assert [(bar.total, bar.done) for bar in bars] == [(0, 0), (32, 32)]
    assert path.read_bytes() == done
    with pytest.raises(ValueError, match=r"checkpoint must be of this search, got '.*search.pt' of one with seed=1;"):
        search_k(model, goals(4), 32, seed=2, checkpoint=path)
    with torch.no_grad():
        model.policy.action_net.bias += 1.0
    with pytest.raises(ValueError, match="of one with weights="):
        run(checkpoint=path)
    path.write_bytes(done[:-1])
    with pytest.raises(ValueError, match=r"is not a whole file of 'nb_agents.search_k'"):
        run(checkpoint=path)


@pytest.mark.parametrize("gain", [1.0, -1.0])
@pytest.mark.parametrize("bare", [False, True])
def test_the_context_is_searched_where_the_ks_are_computed_from_it(gain: float, bare: bool) -> None:
    """The teacher of `test_search`: it holds the pendulum at either sign, once it is told the sign."""
    kwargs = {"k_from": "context", "gate_class": SignedKGate, "block_size": None, "net_arch": [2], "k_net": ()}
    teacher = PPO(KGatedPolicy, VectorEnvAdapter(shown_signs(2)), policy_kwargs=kwargs | {"k_init": 0.1}, **SMALL)
    policy: Any = teacher.policy
    (net,) = conditioned_nets(policy)
    numbers = {"0.weight": [[0.03, 0.1, 0.0, 0.0], [0.0, 0.0, 0.05, 0.0]], "0.bias": [0.0, 0.0], "1.k": [0.0]}
    net.load_state_dict(
        {name: torch.tensor(value) for name, value in numbers.items()} | {"k_net.0.weight": torch.tensor([[1.0986123]])}
    )
    policy.action_net.load_state_dict({"weight": torch.tensor([[-20.0, -20.0]]), "bias": torch.zeros(1)})
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    found = search_k(policy if bare else teacher, pendulums(4, gain), 24, low=[-1.0], high=[1.0])
    assert found.score > -30.0
    assert np.sign(found.values) == [gain]
    assert list(found.battery) == ["start", "found"]
    found.battery.apply("found")
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    world = VectorEnvAdapter(pendulums(4, gain))
    first = first_episodes(found.policy, world, 0)
    np.testing.assert_allclose(first_episodes(policy.at(found.values), world, 0), first, rtol=1e-6)


def test_the_models_normalization_is_seen_through_and_left_alone() -> None:
    """Observations are scaled as for the model, rewards are true, and SAC is searched as PPO is."""
    env = VecNormalize(goals(2))
    model = reaching(env, SAC, KGatedSACPolicy, buffer_size=100)
    env.obs_rms.mean[:], env.obs_rms.var[:], env.obs_rms.count = 0.5, 4.0, 100.0
    found = search_k(model, goals(2, goal=1.0), 12)
    held = VecNormalize(goals(2, goal=1.0), training=False, norm_reward=False)
    held.obs_rms = env.obs_rms
    np.testing.assert_allclose(first_episodes(found.policy, held, 0), found.score, rtol=1e-5)
    assert env.obs_rms.count == 100.0
    assert env.training
    within = search_k(model, model.get_env(), 12, name="another")
    assert env.training
    assert env.norm_reward
    assert env.obs_rms.count == 100.0
    assert model._last_obs is None
    assert within.battery.metadata("another")["of"] == 12


def test_maskable_ppo_acts_with_its_masks() -> None:
    from sb3_contrib import MaskablePPO
    from sb3_contrib.common.envs import InvalidActionEnvDiscrete

    from nb_agents.contrib import KGatedMaskablePolicy

    class Checked(InvalidActionEnvDiscrete):
        def step(self, action: Any) -> Any:
            assert self.action_masks()[action]
            return super().step(action)

    def worlds() -> DummyVecEnv:
        return DummyVecEnv([lambda: Checked(dim=8, n_invalid_actions=4)] * 2)

    model = MaskablePPO(KGatedMaskablePolicy, worlds(), n_steps=8, batch_size=8, seed=0, device="cpu")
    assert search_k(model, worlds(), 8).scores.shape == (8,)


def test_the_result_goes_into_a_given_battery() -> None:
    model = reaching(goals(1))
    battery = Battery(model)
    battery.capture("source")
    found = search_k(model, Goal(), 6, name="goal", battery=battery)
    assert found.battery is battery
    assert list(battery) == ["source", "goal"]
    foreign = Battery(PPO(KGatedPolicy, Goal(), **SMALL))
    foreign.capture("source")
    with pytest.raises(FingerprintError, match="the battery's k-sets were taken for"):
        search_k(model, Goal(), 6, battery=foreign)
    with pytest.raises(TypeError, match="search_k takes a battery of 'gates', got one of 'biases'"):
        search_k(model, Goal(), 6, battery=Battery(model, "biases"))


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "bayes"}, ValueError, "method must be 'cma', got 'bayes'"),
    ({"env": "Pendulum-v1"}, TypeError, "env must be a Gymnasium environment, .* got 'Pendulum-v1'"),
    ({"env": gym.make("Pendulum-v1")}, ValueError, "env must have the spaces that the model was trained with"),
    ({"episodes": 0}, ValueError, "episodes must be an integer >= 1, got 0"),
    (
        {"env": goals(4), "episodes": 3},
        ValueError,
        "episodes must be at least one in each of the 4",
    ),
    ({"population": 1}, ValueError, "population must be an integer >= 2, got 1"),
    ({"sigma": 0.0}, ValueError, "sigma must be > 0, got 0.0"),
    ({"confirm": -1}, ValueError, "confirm must be an integer >= 0, got -1"),
    ({"seed": -1}, ValueError, "seed must be an integer >= 0, got -1"),
    ({"low": [0.0]}, ValueError, "low and high must be None: the model's k's are parameters"),
    ({"name": "start"}, ValueError, "name 'start' is taken"),
    ({"name": ""}, ValueError, "name must be neither empty nor"),
    ({"battery": "tasks"}, TypeError, "battery must be a Battery or None, got 'tasks'"),
    ({"progress_bar": 1}, TypeError, "progress_bar must be True or False, got 1"),
    ({"model": "model.zip"}, TypeError, "model must be a Stable-Baselines3 model or a k-gated policy, got str"),
    ({"model": PPO("MlpPolicy", Goal(), device="cpu")}, ValueError, "model must have k-gates: nb_agents.retrofit"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), BAD)
def test_bad_arguments_are_named(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search_k(**{"model": reaching(goals(1)), "env": Goal(), "episodes": 6} | kwargs)
