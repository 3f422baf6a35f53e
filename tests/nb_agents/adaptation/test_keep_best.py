"""What a watched training keeps, goes back to, and leaves behind."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from nb_agents import KeepBest, VectorEnvAdapter
from nb_agents.adaptation.evaluation import Starts, paired_interval
from nb_agents.adaptation.snapshot import Snapshot, optimizers
from nb_agents.policies.train_only import acting_parameters
from nb_agents.returns import first_episodes
from tests.nb_agents.adaptation.worlds import Slide, normalized, ready, slides

BOTH = pytest.mark.parametrize("algorithm", [PPO, SAC])


def acting(model: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for _, parameter in acting_parameters(model.policy)]


class Trace(BaseCallback):
    """The parameters as each rollout begins."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[torch.Tensor]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.seen.append([parameter.detach().clone() for parameter in self.model.policy.parameters()])


class Ruin(BaseCallback):
    """Spoils the actor after so many steps, once."""

    def __init__(self, step: int, by: float = -6.0) -> None:
        super().__init__()
        self.step, self.by = step, by

    def _on_step(self) -> bool:
        return True

    @torch.no_grad()
    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.step:
            self.step = 10**9
            for gate in self.model.policy.gates.values():
                gate.k += self.by


class Level(gym.Wrapper[Any, Any, Any, Any]):
    """All policies are worth the same."""

    def step(self, action: Any) -> Any:
        observation, _, *rest = self.env.step(action)
        return observation, 1.0, *rest


@BOTH
def test_watching_changes_nothing_of_a_training_in_which_nothing_is_decided(algorithm: Any) -> None:
    """Where all returns are the same there is nothing to keep, and the start goes back when the training ends."""
    traces = [Trace(), Trace()]
    ready(algorithm, 1e-3).learn(256, callback=traces[0])
    model = ready(algorithm, 1e-3)
    before = acting(model)
    keep = KeepBest(Level(Slide()), every=32)
    model.learn(256, callback=[keep, traces[1]])
    assert len(traces[0].seen) > 1
    for one, other in zip(traces[0].seen, traces[1].seen, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(traces[0].seen[0], traces[0].seen[-1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))
    assert [kept.step for kept in keep.kept] == [0]
    assert not keep.rolled_back


@BOTH
@pytest.mark.parametrize("what", ["gates", "head", "all"])
def test_a_ruined_policy_goes_back_to_the_last_bit_and_its_moments_are_forgotten(algorithm: Any, what: str) -> None:
    model = ready(algorithm, 1e-6, what=what)
    before, moments = acting(model), []
    keep = KeepBest(slides(10, 0.6), every=64)
    made = keep._go_back

    def seen(reason: str) -> None:
        trained = [tensor for tensor in keep.best.snapshot.acting if tensor.requires_grad]
        states = [each.state for each in optimizers(model)]
        there = sum(tensor in state for tensor in trained for state in states)
        made(reason)
        moments.append((there, sum(tensor in state for tensor in trained for state in states)))

    keep._go_back = seen  # type: ignore[method-assign]
    model.learn(256, callback=[Ruin(100) if what != "head" else Spoil(100), keep])
    assert keep.rolled_back
    assert all(there and not left for there, left in moments)
    np.testing.assert_allclose(
        first_episodes(model.policy, slides(10, 0.6), 0), keep.best.evaluation.returns, rtol=1e-12
    )
    if keep.best.step == 0:
        assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))


class Spoil(Ruin):
    """Spoils the output layer."""

    @torch.no_grad()
    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.step:
            self.step = 10**9
            policy: Any = self.model.policy
            (policy.action_net if hasattr(policy, "action_net") else policy.actor.mu).weight.mul_(-1.0)


def test_what_is_better_is_kept_and_stored() -> None:
    """The start is spoiled, so that there is something to gain."""
    model = ready(PPO, 3e-3, slides(), what="gates")
    with torch.no_grad():
        for gate in model.policy.gates.values():
            gate.k -= 1.5
    keep = KeepBest(slides(20), every=128, episodes=20)
    logged: dict[str, Any] = {}
    model.set_logger(Logger(None, []))
    model.learn(4_000, callback=[keep, Note(logged)])
    assert len(keep.kept) > 2
    means = [kept.evaluation.mean for kept in keep.kept]
    assert means == sorted(means)
    assert list(keep.battery or ()) == [kept.name for kept in keep.kept] == [f"step {kept.step}" for kept in keep.kept]
    for kept in keep.kept:
        assert keep.battery is not None
        keep.battery.apply(kept.name)
        np.testing.assert_array_equal(first_episodes(model.policy, slides(20), 0), kept.evaluation.returns)
        assert keep.battery.metadata(kept.name)["return"] == kept.evaluation.mean
    assert keep.before is not None
    assert keep.after is not None
    np.testing.assert_array_equal(first_episodes(model.policy, slides(20), 20), keep.after.returns)
    assert paired_interval(keep.after.returns, keep.before.returns, 0.95)[0] > 0.0
    assert str(keep).startswith(f"kept step 0 ({means[0]:,.1f}), step ")
    assert "10 numbers guarded; return " in str(keep)
    assert logged["keep_best/kept"] <= len(keep.kept)
    assert logged["keep_best/best_return"] in means


class Note(BaseCallback):
    """The last values that were logged of what the callback records."""

    def __init__(self, into: dict[str, Any]) -> None:
        super().__init__()
        self.into = into

    def _on_step(self) -> bool:
        self.into |= {name: v for name, v in self.logger.name_to_value.items() if name.startswith("keep_best")}
        return True


def test_a_second_training_starts_from_where_the_first_has_ended() -> None:
    model, keep = ready(PPO, 1e-2), KeepBest(slides(10, 0.6), every=64)
    model.learn(256, callback=keep)
    left = acting(model)
    model.learn(256, callback=keep, reset_num_timesteps=False)
    assert keep.kept[0].step == 256
    trained = [
        (value, p) for value, (_, p) in zip(left, acting_parameters(model.policy), strict=True) if p.requires_grad
    ]
    assert trained
    assert all(torch.equal(value, keep.kept[0].snapshot.acting[p]) for value, p in trained)


@pytest.mark.parametrize("how", ["max_cost", "unsafe"])
def test_what_is_not_safe_goes_back_whatever_its_return(how: str) -> None:
    """The cost is the speed: with a limit just above the start's nothing faster is kept."""
    model = ready(PPO, 3e-3, slides())
    with torch.no_grad():
        for gate in model.policy.gates.values():
            gate.k -= 1.5
    free = Starts(slides(20), 20, 0, max_cost=np.inf)
    limit = free.evaluate(model).cost
    assert limit is not None

    def unsafe(episodes: Any) -> bool:
        assert len(episodes) == 20
        assert all(len(episode) == 15 for episode in episodes)
        return bool(np.mean([sum(info["cost"] for info in episode) for episode in episodes]) > limit)

    guard: dict[str, Any] = {"max_cost": limit} if how == "max_cost" else {"unsafe": unsafe}
    keep = KeepBest(slides(20), every=64, episodes=20, **guard)
    model.learn(2_000, callback=keep)
    assert any(reason.startswith("not safe") for _, reason in keep.rolled_back)
    assert all(kept.evaluation.safe for kept in keep.kept)
    cost = free.evaluate(model).cost
    assert cost is not None
    assert cost <= limit


def test_a_start_that_is_not_safe_is_said_and_left_for_what_is() -> None:
    model = ready(PPO, 1e-4, slides())
    cost = Starts(slides(10), 10, 0, max_cost=1e9).evaluate(model).cost
    assert cost is not None
    keep = KeepBest(slides(10), every=32, max_cost=cost - 1e-6)
    with pytest.warns(UserWarning, match="the policy is not safe in eval_env before it trains"):
        model.learn(1_000, callback=keep)
    assert not keep.kept[0].evaluation.safe
    assert all(kept.evaluation.safe for kept in keep.kept[1:])


def test_what_is_not_finite_is_put_back_in_the_same_update() -> None:
    """A rate that makes infinities: the training goes on, with numbers that are finite."""
    model = ready(SAC, 1e30, what="all")
    keep = KeepBest(slides(10, 0.6), every=64)
    with keep:
        model.learn(128, callback=keep)
    assert any("not finite" in reason for _, reason in keep.rolled_back)
    assert all(bool(parameter.isfinite().all()) for parameter in model.policy.parameters())
    assert not keep._hooks


def test_as_a_context_it_puts_the_best_back_where_learn_raises() -> None:
    class LostError(RuntimeError):
        pass

    class Fails(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps > 200:
                raise LostError
            return True

    model = ready(PPO, 1.0)
    before, keep = acting(model), KeepBest(slides(10, 0.6), every=1_000)
    with pytest.raises(LostError), keep:
        model.learn(512, callback=[keep, Fails()])
    assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in optimizers(model))


@BOTH
def test_statistics_that_move_are_kept_with_the_numbers(algorithm: Any) -> None:
    """What goes back acts as it did, in the world as it was seen then; rewards are true."""
    env = normalized(0.6)
    model = ready(algorithm, 1.0, env)
    env.obs_rms.var[:] = 4.0
    env.obs_rms.count = 50.0
    keep = KeepBest(slides(10, 0.6), every=64)
    model.learn(256, callback=keep)
    assert env.obs_rms.count != 50.0 or keep.best.step == 0
    held = VecNormalize(slides(10, 0.6), training=False, norm_reward=False)
    held.obs_rms = env.obs_rms
    np.testing.assert_allclose(first_episodes(model.policy, held, 0), keep.best.evaluation.returns, rtol=1e-5)
    assert env.training
    assert env.norm_reward


def test_the_last_word_have_starts_that_nothing_was_chosen_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something was kept for luck alone: it is worse from fresh starts, and the start goes back."""
    model = ready(PPO, 1e-3)
    before, made = acting(model), Starts.evaluate

    def lucky(self: Starts, model: Any, *, fresh: bool = False) -> Any:
        found = made(self, model, fresh=fresh)
        moved = not all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))
        return type(found)(found.returns + (-5.0 if fresh else 5.0) * moved, found.cost, found.safe)

    monkeypatch.setattr(Starts, "evaluate", lucky)
    keep = KeepBest(slides(10, 0.6), every=64)
    model.learn(128, callback=keep)
    assert len(keep.kept) > 1
    assert "from fresh starts" in keep.rolled_back[-1][1]
    assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))
    assert keep.after is keep.before


def test_a_policy_without_gates_is_guarded_as_well() -> None:
    model = DQN("MlpPolicy", gym.make("CartPole-v1"), learning_starts=8, train_freq=8, learning_rate=1.0, device="cpu")
    keep = KeepBest(gym.make("CartPole-v1"), every=64)
    model.learn(256, callback=keep)
    assert keep.battery is None
    assert keep.after is not None
    assert keep.before is not None
    assert not paired_interval(keep.after.returns, keep.before.returns, 0.95)[1] < 0.0


def test_the_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    old, difference = rng.normal(size=400), rng.normal(0.3, 1.0, 400)
    low, high = paired_interval(old + difference, old, 0.95)
    half = 1.96 * difference.std() / 20.0
    np.testing.assert_allclose([low, high], [difference.mean() - half, difference.mean() + half], atol=0.02)
    assert paired_interval(old, old, 0.95) == (0.0, 0.0)
    fall = np.where(np.arange(20) < 8, -100.0, 0.1)  # the interquartile mean of these is near 0
    assert paired_interval(fall, np.zeros(20), 0.95)[1] < 0.0
    assert paired_interval(np.array([1.0, np.nan]), np.zeros(2), 0.95)[1] == -np.inf


def test_returns_are_paired_start_by_start_over_several_rounds() -> None:
    model = ready(PPO, 1e-3)
    few, many = (Starts(slides(n, 0.6), 10, 3).evaluate(model) for n in (4, 10))
    np.testing.assert_allclose(few.returns, many.returns, rtol=1e-6)
    fresh = Starts(slides(10, 0.6), 10, 3).evaluate(model, fresh=True)
    assert not np.isin(fresh.returns, many.returns).any()


def test_snapshots_hold_what_they_say() -> None:
    model = ready(SAC, 1e-3, what="gates")
    snapshot = Snapshot(model)
    assert sum(value.numel() for value in snapshot.acting.values()) == 10
    assert snapshot.holds()
    model.learn(64)
    assert not snapshot.holds()
    helping = {tensor: tensor.detach().clone() for tensor in snapshot.helping}
    snapshot.restore(model)
    assert snapshot.holds()
    assert all(torch.equal(tensor, value) for tensor, value in helping.items())


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"eval_env": None}, TypeError, "eval_env must be a Gymnasium environment, .* got None"),
    ({"every": 0}, ValueError, "every must be an integer >= 1, got 0"),
    ({"episodes": 1}, ValueError, "episodes must be an integer >= 2, got 1"),
    ({"confidence": 1.5}, ValueError, r"confidence must be a number in \[0, 1\], got 1.5"),
    ({"confidence": 1}, ValueError, r"confidence must be in \(0, 1\), got 1"),
    ({"max_cost": np.nan}, ValueError, "max_cost must be any finite number, got nan"),
    ({"unsafe": True}, TypeError, "unsafe must be a function of the episodes' infos or None, got True"),
    ({"seed": -1}, ValueError, "seed must be an integer >= 0, got -1"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), BAD)
def test_bad_arguments_are_named(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KeepBest(**{"eval_env": Slide()} | kwargs)


def test_bad_environments_are_named_before_anything_is_trained() -> None:
    model = ready(PPO, 1e-3)
    before = acting(model)
    own = model.get_env().envs[0]
    cases = [
        (KeepBest(gym.make("CartPole-v1")), "eval_env must have the spaces that the model was trained with"),
        (KeepBest(model.get_env()), "eval_env must be another environment than the one in which the model trains"),
        (KeepBest(own), "eval_env must be another environment than the one in which the model trains"),
        (KeepBest(Nothing(), max_cost=1.0), r"max_cost needs info\['cost'\] of every step in eval_env"),
        (KeepBest(Endless()), "eval_env must give finite returns before the training"),
    ]
    for keep, message in cases:
        with pytest.raises(ValueError, match=message):
            model.learn(64, callback=keep)
    assert all(torch.equal(a, b) for a, b in zip(before, acting(model), strict=True))


def test_vector_environments_are_taken_and_told_apart() -> None:
    envs = gym.make_vec("Pendulum-v1", num_envs=2)
    model = PPO("MlpPolicy", VectorEnvAdapter(envs), n_steps=8, batch_size=8, device="cpu")
    with pytest.raises(ValueError, match="eval_env must be another environment"):
        model.learn(16, callback=KeepBest(envs))
    keep = KeepBest(gym.make_vec("Pendulum-v1", num_envs=2), every=16, episodes=2)
    model.learn(32, callback=keep)
    assert keep.after is not None


class Nothing(Slide):
    """Reports no cost."""

    def step(self, action: Any) -> Any:
        return *super().step(action)[:-1], {}


class Endless(Slide):
    """Pays more than there is."""

    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, np.inf, *rest
