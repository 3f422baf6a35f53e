"""When a watched training goes back, and that it does so to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback

from nb_agents import KeepBest
from nb_agents.adaptation.evaluation import Starts
from nb_agents.adaptation.snapshot import optimizers
from nb_agents.returns import first_episodes
from tests.nb_agents.adaptation.worlds import BOTH, acting, ready, slides


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
