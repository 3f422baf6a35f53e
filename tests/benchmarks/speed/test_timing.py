"""What is timed: in which order, how often, and what a sample is."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from benchmarks.protocol.recorder import without_log_folder
from benchmarks.speed import battery, environments, inference, learning, maml, runtime
from benchmarks.speed.rows import Measurement, Row
from benchmarks.speed.tables import make_tables
from benchmarks.speed.timing import interleave, seconds
from nb_agents import KGatedMixin, KGatedPolicy
from nb_agents.policies.optim import optimized_parts


def cells(row: Row) -> list[str]:
    """A row as the report shows it."""
    ((shown,),) = (table.rows for table in make_tables([Measurement("x", "x", "x", None, None, {}, [row])]))
    return list(shown)


def test_rounds_are_interleaved_and_the_fastest_peer_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], []
    times = {"ours": [9.0, 1.0, 2.0], "slow": [9.0, 8.0, 8.0], "odd": [9.0, 16.0, 4.0]}  # the first for warming up

    def contender(name: str) -> Any:
        def run() -> None:
            calls.append(name)
            clock[0] += times[name].pop(0)

        return environments.speed(run, 16)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    (row,) = environments.compare("test", {name: contender(name) for name in times}, rounds=2, target=3.0)
    assert calls == ["ours", "slow", "odd", "odd", "slow", "ours", "ours", "slow", "odd"]
    assert row.samples == {"ours": [16.0, 8.0], "slow": [2.0, 2.0], "odd": [1.0, 4.0]}
    assert cells(row) == ["test", "12", "3", "5.00 [2.00, 8.00]", "2", "≥ 3", "yes"]


def test_a_time_is_the_mean_over_its_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 16.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    calls: list[int] = []
    assert seconds(lambda: calls.append(1), 4) == 1.5
    assert len(calls) == 4


def test_contenders_make_the_steps_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    assert environments.native(num_envs=3, steps=5)() == 7.5
    monkeypatch.undo()
    (row,) = environments.gymnasium(1, disable_env_checker=True)
    assert list(row.samples) == ["NBPendulum-v0", "Pendulum-v1"]
    assert row.what == "Gymnasium's Pendulum-v1, one environment, unchecked"


def test_a_missing_peer_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(SystemExit, match=r'envpool.*pip install "neural-battery\[peers\]"'):
        environments.COMPARISONS["envpool"](1)


def test_learning_is_timed_in_pairs_and_predict_five_times_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def made_up(name: str, policy: Any, policy_kwargs: Any) -> float:
        asked.append((policy, tuple(policy_kwargs)))
        return 2.0 if policy == "MlpPolicy" else 1.0

    monkeypatch.setattr(learning, "learning_seconds", made_up)
    monkeypatch.setattr(learning, "predict", lambda name, rounds: Row("gates", "predict", "s", {"": [1.0] * rounds}))
    *rows, predict = learning.COMPARISONS["PPO"](3)
    assert len(predict.samples[""]) == 15
    assert [list(row.samples) for row in rows] == [
        [ours, "`MlpPolicy`"] for ours in ("NB", "NB Pro", "control: `MlpPolicy`, fused Adam")
    ]
    assert asked[:2] == [(KGatedPolicy, ("block_size",)), ("MlpPolicy", ())]
    assert asked[-1] == ("MlpPolicy", ("optimizer_kwargs",))
    assert [cells(row)[3:] for row in rows] == [
        ["0.50 [0.50, 0.50]", "3", "≤ 1.05", "yes"],
        ["0.50 [0.50, 0.50]", "3", "≤ 1.05", "yes"],
        ["1.00 [1.00, 1.00]", "3", "", ""],
    ]


def test_with_many_environments_both_peers_share_the_rounds_of_the_gated_policies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def made_up(name: str, policy: Any, policy_kwargs: Any) -> float:
        asked.append(tuple(policy_kwargs))
        return 1.0 if policy != "MlpPolicy" else 0.5 if policy_kwargs else 2.0

    monkeypatch.setattr(learning, "learning_seconds", made_up)
    rows = learning.COMPARISONS["PPO, 64 environments, 256-256"](2)
    assert asked == [*(turn := [("block_size",), (), (), ("optimizer_kwargs",)]), *turn[::-1], *turn]
    assert [cells(row) for row in rows] == [
        [what, ours, peer, f"{ratio} [{ratio}, {ratio}]", "2", "≤ 1.03", reached]
        for what, peer, ratio, reached in (
            ("PPO, 64 environments, 256-256, `learn`", "`MlpPolicy`", "0.50", "yes"),
            ("PPO, 64 environments, 256-256, `learn`, one optimizer", "`MlpPolicy`, fused Adam", "2.00", "no"),
        )
        for ours in ("NB", "NB Pro")
    ]


@pytest.mark.parametrize("name", learning.VECTORIZED)
def test_what_learns_in_many_environments_has_the_layers_and_the_optimizer_that_are_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All step 64 environments, and all that the strict comparison trains is stepped by fused Adam, critics too."""
    setting, made = learning.VECTORIZED[name], []
    monkeypatch.setattr(learning, "seconds", lambda run: 1.0)  # what is timed is made, and not run
    monkeypatch.setattr(learning, "without_log_folder", lambda model: model)
    monkeypatch.setitem(learning.VECTORIZED, name, setting._replace(algorithm=lambda *a, **k: made.append((a, k))))
    for policy, policy_kwargs in learning.variants(setting).values():
        learning.learning_seconds(name, policy, policy_kwargs)
    for (policy, env), arguments in made:
        assert env.num_envs == 64
        policy = setting.algorithm(policy, env, **arguments).policy
        optimizers = [part.optimizer for part in optimized_parts(policy).values()]
        plain = "optimizer_kwargs" not in arguments["policy_kwargs"] and not isinstance(policy, KGatedMixin)
        assert {group["fused"] for each in optimizers for group in each.param_groups} == {None if plain else True}
        assert policy.net_arch == [setting.width, setting.width]


def test_a_folded_policy_predicts_beside_sb3s_own() -> None:
    row = learning.predict("PPO", rounds=2, calls=3)
    assert [len(samples) for samples in row.samples.values()] == [2, 2]
    assert min(map(min, row.samples.values())) > 0


def test_students_decide_and_conditioned_gates_learn_beside_sb3s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BATCHES", {1: 2, 3: 1})
    monkeypatch.setattr(inference, "STEPS", 128)
    rows = inference.decisions(2) + inference.learning(1)
    assert [list(row.samples) for row in rows] == [
        [ours, "`MlpPolicy`"] for ours in ("student", "student", "σ", "signed", "FiLM")
    ]
    assert [cells(row)[4:6] for row in rows] == 2 * [["2", "≤ 1.5"]] + 3 * [["1", "≤ 1.15"]]
    assert [row.what for row in rows[:2]] == ["`predict`, 1 observation", "`predict`, 3 observations"]
    assert min(value for row in rows for each in row.samples.values() for value in each) > 0


def test_a_fleet_learns_beside_one_k_set_for_all_with_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "ROBOTS", 2)
    monkeypatch.setattr(inference, "FLEETS", {"8-8": (8, {"n_steps": 4, "batch_size": 8})})
    learnt: list[Any] = []

    def noted(model: Any) -> Any:
        learnt.append(model)
        return without_log_folder(model)

    monkeypatch.setattr(inference, "without_log_folder", noted)
    (row,) = inference.fleets(1)
    assert list(row.samples) == ["a k-set each", "one k-set"]
    assert cells(row)[4:6] == ["1", "≤ 1.3"]
    assert {(model.batch_size, model.n_steps, model.n_envs, model.policy.trains) for model in learnt} == {
        (8, 4, 2, "gates")
    }
    assert {model.policy.k_from for model in learnt} == {None, "row"}


def test_every_time_of_k_sets_has_a_sample_per_round_and_the_ratio_is_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    model = PPO(KGatedPolicy, gym.make("Pendulum-v1"), policy_kwargs={"net_arch": [8]}, device="cpu")
    samples = interleave(battery.contenders(model, batch=5, repeats=2), 3)
    assert list(samples) == ["apply", "apply_frozen", "enter", "rows", "shared"]
    assert all(len(values) == 3 and min(values) > 0 for values in samples.values())
    monkeypatch.setattr(battery, "interleave", lambda contenders, rounds: samples)
    *alone, per_row = battery.COMPARISONS["PPO, 64-64"](3)
    assert [row.samples for row in alone] == [{name: samples[name]} for name in ("apply", "apply_frozen", "enter")]
    ratio = np.median(np.divide(samples["rows"], samples["shared"]))
    assert cells(per_row)[3].startswith(f"{ratio:.2f} " if ratio < 10 else f"{ratio:.1f} ")
    assert cells(per_row)[0] == "PPO, 64-64: forward of 256, a k-set per row"


def test_the_runtime_acts_in_processes_and_steps_beside_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "BATCHES", {1: 2, 3: 1})
    (first, _, memory, bare), steps = runtime.processes(1), runtime.steps(2) + runtime.student_steps(2)
    assert [*first.samples] == [*memory.samples] == ["`nb_runtime`", "`model.predict`"]
    # A process with PyTorch takes this much at least, and one of ours has it not: the libraries are that large.
    assert memory.samples["`nb_runtime`"][0] < 100 < bare.samples["`import torch`"][0]
    assert [cells(row)[4:6] for row in (first, memory)] == [["1", "≤ 0.25"], ["1", "≤ 0.3"]]
    assert [(row.what, cells(row)[4:6]) for row in steps] == [
        ("step, 1 observation, µs", ["2", "≤ 0.5"]),
        ("step, 3 observations, µs", ["2", ""]),
        ("student's step, 1 observation, µs", ["2", "≤ 0.5"]),
        ("student's step, 3 observations, µs", ["2", ""]),
    ]
    assert min(value for row in (first, *steps) for each in row.samples.values() for value in each) > 0


def test_a_process_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a process ended without an action, with status 1"):
        runtime.first_action("raise SystemExit(1)", tmp_path)


def test_ours_and_the_peer_of_maml_share_their_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    class Peer(types.SimpleNamespace):
        def __call__(self) -> float:
            return 6.0

        def close(self) -> None:
            ended.append(self)

    monkeypatch.setattr(
        maml, "Ours", lambda hidden, activation, factor=20, tasks=20: lambda: 3.0 if factor == 1 else 1.0
    )
    monkeypatch.setattr(maml, "Peer", lambda network, folder: Peer())
    quoted = maml.COMPARISONS["learn2learn"](2)
    assert [cells(row)[1:4] for row in quoted] == [
        ["1.00", "47.80 (quoted)", "47.8 [47.8, 47.8]"],
        ["3.00", "47.80 (quoted)", "15.9 [15.9, 15.9]"],
    ]
    rows = maml.COMPARISONS["pytorch-maml-rl"](2, folder="somewhere")
    assert len(ended) == 2
    assert [cells(row) for row in rows][:2] == [
        ["pytorch-maml-rl, 2 × 64 tanh", "1.00", "6.00", "6.00 [6.00, 6.00]", "2", "≥ 6", "yes"],
        ["pytorch-maml-rl, 2 × 64 tanh, all samples", "3.00", "6.00", "2.00 [2.00, 2.00]", "2", "≥ 6", "no"],
    ]


def test_the_least_of_the_rounds_counts_over_the_number_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maml, "TASKS", (1, 10))
    times = {1: iter([9.0, 1.0, 2.0]), 10: iter([9.0, 8.0, 6.0])}
    monkeypatch.setattr(maml, "Ours", lambda hidden, activation, tasks: lambda: next(times[tasks]))
    (row,) = maml.scaling(2)
    assert cells(row) == ["10 tasks over 1", "6.00", "1.00", "6.00", "", "≤ 10", "yes"]
