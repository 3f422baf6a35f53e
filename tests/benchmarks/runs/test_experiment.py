from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.methods import METHODS
from benchmarks.protocol.results import DRIVES, GRID_DRIVES, GRID_GAINS
from benchmarks.protocol.summary import summarise
from benchmarks.runs import experiment
from benchmarks.runs.experiment import execute


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not getattr(method, "told", None)])
def test_a_run_is_a_pure_function_of_its_specification(quick_spec, method):
    spec = quick_spec(method=method)
    first = execute(spec)
    np.random.seed(1)
    torch.manual_seed(1)
    execute(quick_spec(method="fine-tune", seed=7))
    assert execute(spec) == first


def test_the_seed_counts(quick_spec):
    assert execute(quick_spec(seed=1)).curve != execute(quick_spec(seed=2)).curve


def test_budget_is_spent_to_the_step(quick_spec):
    result = execute(quick_spec(pretrain_episodes=2, transfer_episodes=4, eval_every=2))
    assert result.curve.steps == [0, 2000, 4000, 6000]
    assert len(result.transfer_episodes) == 4
    assert len(result.torques_before) == len(result.torques_after) == 50
    scratch = execute(quick_spec(method="scratch"))
    assert scratch.curve.steps == [0, 2000, 4000]
    assert len(scratch.transfer_episodes) == 4


def test_evaluating_does_not_disturb_the_training(quick_spec):
    often, seldom = execute(quick_spec(eval_every=1)), execute(quick_spec(eval_every=100))
    assert seldom.curve.steps == [0, 2000, 6000]  # the phases' ends, whatever the interval
    assert often.transfer_episodes == seldom.transfer_episodes
    assert often.torques_after == seldom.torques_after
    assert often.curve.target[-1] == seldom.curve.target[-1]


def test_pretraining_is_the_same_whatever_adapts(quick_spec):
    everything, only_k = execute(quick_spec(method="nb-pro")), execute(quick_spec(method="nb-pro-k"))
    assert everything.curve.target[:2] == only_k.curve.target[:2]
    assert everything.torques_before == only_k.torques_before
    assert everything.torques_after != only_k.torques_after


def test_runs_without_detail_share_their_pretraining(quick_spec, monkeypatch):
    """Whether another run left a pretraining behind changes nothing."""
    specs = [quick_spec(method="nb", detail=False, target={"A": drive}) for drive in (1.5, 1.8)]
    pretrainings = []
    method = type(METHODS["nb"])
    pretrain = method.pretrain
    monkeypatch.setattr(method, "pretrain", lambda self, spec: pretrainings.append(spec) or pretrain(self, spec))
    experiment._pretrained.cache_clear()
    together = [execute(spec) for spec in specs]
    assert len(pretrainings) == 1
    apart = []
    for spec in specs:
        experiment._pretrained.cache_clear()
        apart.append(execute(spec))
    assert together == apart
    assert together[0].curve.steps == [2000, 4000, 6000]
    assert together[0].landscape_after is None
    detailed = execute(quick_spec(method="nb"))
    assert together[1].curve.target == detailed.curve.target[-3:]


def test_the_landscape_holds_the_target(quick_spec):
    """At the target's own context, over fewer starts, the return is about the one that the curve ends with."""
    result = execute(quick_spec(target={"A": 1.5, "torque_gain": 0.75}))
    drive, gain = GRID_DRIVES.index(1.5), GRID_GAINS.index(0.75)
    on_line, on_grid = result.landscape_after.over_drive[DRIVES.index(1.5)], result.landscape_after.over_drive_and_gain
    assert on_line == on_grid[drive][gain]
    assert on_line == pytest.approx(result.curve.target[-1], rel=0.3)
    assert result.landscape_after != result.landscape_before


def test_k_sets_are_kept_where_only_k_adapts(quick_spec):
    before, after = execute(quick_spec(method="nb-pro-k")).k_sets
    assert len(before) == len(after) == 4
    assert before != after
    assert execute(quick_spec(method="nb-pro")).k_sets is None


def test_threads_are_given_back(quick_spec):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        execute(quick_spec(method="scratch"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_summary_by_hand(made_up_run):
    run = made_up_run(final=-20.0)
    summary = run.summary
    assert (summary.zero_shot, summary.final, summary.last_evaluations) == (-900.0, -20.0, -160.0)
    assert (summary.best_episode, summary.last_episodes) == (-80.0, -367.5)
    assert (summary.source_before, summary.source_after, summary.steps) == (-50.0, -50.0, 6000)


def test_averages_take_in_the_last_ten(made_up_run):
    run = made_up_run()
    steps = list(range(0, 26_000, 1000))
    curve = replace(run.result.curve, steps=steps, source=[0.0] * 26, target=[float(-step) for step in steps])
    spec = replace(run.spec, transfer_episodes=20)
    result = replace(run.result, curve=curve, transfer_episodes=[float(-i) for i in range(20)])
    summary = summarise(spec, result)
    assert summary.zero_shot == -5000.0
    assert summary.last_evaluations == np.mean([-1000.0 * i for i in range(16, 26)])
    assert summary.last_episodes == np.mean([-float(i) for i in range(10, 20)])


def test_a_method_that_is_told_the_context_runs_in_a_sequence_alone(quick_spec):
    with pytest.raises(ValueError, match="conditioned-k is told the context, as a sequence tells it"):
        quick_spec(method="conditioned-k")
