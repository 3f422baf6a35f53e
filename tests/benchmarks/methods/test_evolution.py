import importlib.util

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from benchmarks.methods import METHODS, specify
from benchmarks.protocol.recorder import Recorder
from benchmarks.runs.experiment import execute
from nb_agents.gates.gate import named_gates


def test_only_k_moves_and_the_budget_is_kept(quick_spec):
    spec = quick_spec(method="nb-pro-k-cma", transfer_episodes=12, eval_every=2)
    method = METHODS["nb-pro-k-cma"]
    recorder = Recorder(spec)
    model = method.begin_transfer(spec, method.pretrain(spec), recorder)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    method.transfer(spec, model, recorder)
    moved = {name for name, value in model.policy.state_dict().items() if not value.equal(before[name])}
    assert moved <= {f"{name}.k" for name, _ in named_gates(model.policy)}
    assert len(recorder.episodes) == 12
    assert recorder.curve.steps == [4000, 6000, 8000, 10_000, 12_000, 14_000]


def test_the_best_so_far_is_deployed(quick_spec, monkeypatch):
    """Scores are made up: the distance of k to where the optimum is said to be."""
    optimum, tried = 1.5, []

    def score(model, env, episodes, **_):
        k = np.concatenate([gate.k.detach().numpy() for gate in model.policy.gates.values()])
        tried.append(-float(np.abs(k - optimum).sum()))
        return [tried[-1]] * episodes, [50] * episodes

    monkeypatch.setattr("stable_baselines3.common.evaluation.evaluate_policy", score)
    spec = quick_spec(method="nb-k-cma", transfer_episodes=120)
    method = METHODS["nb-k-cma"]
    recorder = Recorder(spec)
    model = method.begin_transfer(spec, method.pretrain(spec), recorder)
    start = [gate.k.item() for gate in model.policy.gates.values()]
    method.transfer(spec, model, recorder)
    end = [gate.k.item() for gate in model.policy.gates.values()]
    assert tried[0] == pytest.approx(-sum(abs(k - optimum) for k in start))  # the source's own k's come first
    assert len(tried) == 60
    assert max(tried) == pytest.approx(-sum(abs(k - optimum) for k in end))
    assert max(tried) > 0.1 * tried[0]


def test_a_score_is_the_deterministic_return_of_an_episode(quick_spec):
    """With the budget of one candidate, which is the source's policy, nothing changes."""
    spec = quick_spec(method="nb-k-cma", transfer_episodes=2)
    result = execute(spec)
    assert result.k_sets[0] == result.k_sets[1]
    method = METHODS["nb-k-cma"]
    model = method.begin_transfer(spec, method.pretrain(spec), Recorder(spec))
    returns, _ = evaluate_policy(model, model.get_env(), 2, return_episode_rewards=True)
    assert result.transfer_episodes == returns


def test_without_cma(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'nb-k-cma needs cma: pip install "neural-battery\[bench\]"'):
        specify("nb-k-cma", seed=0)
