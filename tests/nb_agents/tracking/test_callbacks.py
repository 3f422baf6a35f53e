from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nb_agents import PAPER, KGateCallback
from nb_agents.tracking.history import GateHistory
from nb_agents.tracking.plot import plot_gates
from tests.nb_agents.inference.models import FLAT, make_model
from tests.nb_agents.inference.test_row_k_target import HARD_IS_A, loss_by_hand, net_of, ppo

START = 1 / (1 + math.exp(-0.25))


ON_PPO = pytest.mark.parametrize("algorithm", ["PPO"], indirect=True)


def scalars(folder: Path) -> dict[str, list[float]]:
    """Every scalar of the one event file in a folder."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize(("algorithm", "owner"), [("PPO", "policy"), ("SAC", "actor")], indirect=["algorithm"])
def test_gates_loss_and_rates_reach_tensorboard(algorithm: Any, owner: str, tmp_path: Path) -> None:
    model = algorithm.make(learning_rate=lambda progress: 1e-3 * progress, policy_kwargs=dict(PAPER))
    model.set_logger(configure(str(tmp_path), ["tensorboard"]))
    model.learn(448, callback=KGateCallback(), log_interval=1)  # Pendulum-v1's episodes have 200 steps
    model.logger.close()
    logged = scalars(tmp_path)
    assert {tag for tag in logged if tag.startswith("gates/")} == {
        *(f"gates/layer_{i}" for i in range(2)),
        *(f"gates/layer_{i}_block_{j}" for i in range(2) for j in range(2)),
    }
    ours = {tag for tag in logged if tag.startswith("train/k_") or tag.startswith("train/learning_rate_")}
    groups = {f"train/learning_rate_{owner}_{group}" for group in ("weights", "gates")}
    assert ours == {"train/k_target_loss", "train/k_learning_rate", *groups}
    assert all(np.isfinite(logged[tag]).all() and len(logged[tag]) >= 2 for tag in ours)
    weights, gates = (np.array(logged[f"train/learning_rate_{owner}_{group}"]) for group in ("weights", "gates"))
    np.testing.assert_allclose(gates, 5 * weights, rtol=1e-6)
    assert np.all(np.diff(weights) < 0)
    layers = np.array([logged[f"gates/layer_{i}"] for i in range(2)])
    np.testing.assert_allclose(logged["train/k_target_loss"], ((layers - 0.15) ** 2).sum(axis=0), rtol=1e-5)
    if algorithm.cls is PPO:
        assert logged["gates/layer_1_block_1"][0] == pytest.approx(START, rel=1e-6)
        assert gates[0] == pytest.approx(5e-3)


@pytest.mark.parametrize("algorithm", ["TD3"], indirect=True)
def test_gated_critics_log_their_own_groups(algorithm: Any, tmp_path: Path) -> None:
    model = algorithm.make(policy_kwargs={"gate_critic": True})
    model.set_logger(configure(str(tmp_path), []))
    recorded: dict[str, Any] = model.logger.name_to_value
    model.learn(32, callback=KGateCallback())
    names = {name for name in recorded if name.startswith("train/learning_rate_")}
    assert names == {f"train/learning_rate_{o}_{g}" for o in ("actor", "critic") for g in ("weights", "gates")}
    assert "gates/layer_5_block_1" in recorded


def test_of_computed_ks_it_logs_what_trains(tmp_path: Path) -> None:
    """One update on one batch: the loss and the gates of its rows, and none before there was one."""
    model, fresh = (ppo(0.1, task_difficulty=HARD_IS_A) for _ in range(2))
    model.set_logger(configure(str(tmp_path), []))
    recorded: dict[str, Any] = model.logger.name_to_value
    model.learn(64, callback=KGateCallback(), log_interval=100)
    assert not [name for name in recorded if name.startswith("gates/") or "k_target" in name]
    rows = torch.as_tensor(model.rollout_buffer.observations).reshape(64, -1)
    model.learn(64, callback=KGateCallback(), log_interval=100, reset_num_timesteps=False)
    assert recorded["train/k_target_loss"] == pytest.approx(loss_by_hand(fresh, rows), rel=1e-4)
    k = net_of(fresh).k(rows).detach()
    means = torch.sigmoid(k).mean(dim=0)
    logged = [value for name, value in recorded.items() if name.startswith("gates/")]
    np.testing.assert_allclose(logged, means, rtol=1e-4)
    assert copy.deepcopy(model.policy.regularizer).last is None, "a copy does not keep the batch"


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT)
def test_computed_ks_are_logged_in_every_algorithm(algorithm: Any, policy: Any, key: bool, settings: Any) -> None:
    model = make_model(algorithm, policy, key, settings, gate_critic=algorithm is SAC)
    model.set_logger(configure(None, []))
    recorded: dict[str, Any] = model.logger.name_to_value
    model.learn(40, callback=KGateCallback(), log_interval=100)
    logged = {name: value for name, value in recorded.items() if name.startswith("gates/")}
    assert len(logged) == sum(len(gate.k) for gate in model.policy.gates.values())
    assert np.isfinite([*logged.values(), recorded["train/k_target_loss"]]).all()


def test_every_algorithm_takes_the_callback(algorithm: Any) -> None:
    callback = KGateCallback()
    model = algorithm.make()
    model.learn(32, callback=callback)
    assert callback.history is not None
    assert callback.history.timesteps[-1] == model.num_timesteps


@ON_PPO
def test_history_holds_every_rollout_and_ends_with_the_final_k(algorithm: Any) -> None:
    callback = KGateCallback()
    model = algorithm.make().learn(64, callback=callback)
    history = callback.history
    assert history is not None
    assert history.names == tuple(f"layer_{i}{part}" for i in range(2) for part in ("", "_block_0", "_block_1"))
    assert history.timesteps.tolist() == [0, 32, 64]
    assert np.all(history.k[0] == 0.0)
    final = np.concatenate([gate.k.detach().numpy() for gate in model.policy.gates.values()])
    assert np.array_equal(history.k[-1], final)
    assert not np.array_equal(history.k[-1], history.k[-2])
    before = history.k
    model.learn(32, callback=callback, reset_num_timesteps=False)
    assert callback.history is history
    assert history.timesteps.tolist() == [0, 32, 64, 96]
    assert np.array_equal(history.k[:3], before)
    model.learn(32, callback=callback)
    assert history.timesteps.tolist() == [0, 32]
    algorithm.make(policy_kwargs={"block_size": None}).learn(32, callback=callback)
    assert callback.history.names == ("layer_0", "layer_1")


def test_history_is_bounded_and_spans_the_training() -> None:
    history = GateHistory(("layer_0",), max_rows=50)
    for step in range(10_000):
        history.add(8 * step, np.array([step], dtype=np.float32))
        assert len(history) <= 50
        assert history.timesteps[-1] == 8 * step
    assert history.timesteps[0] == 0
    assert np.array_equal(history.k[:, 0] * 8, history.timesteps)
    gaps = np.diff(history.timesteps)[:-1]  # the newest may come closer
    assert len(history) >= 24
    assert gaps.max() <= 2 * gaps.min()


@ON_PPO
def test_plot_is_written_whole_or_not_at_all(algorithm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = KGateCallback()
    with pytest.raises(RuntimeError, match="no history yet"):
        callback.plot(tmp_path / "gates.png")
    algorithm.make().learn(32, callback=callback)
    callback.plot(tmp_path / "gates.png")
    assert (tmp_path / "gates.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    callback.plot(str(tmp_path / "gates.svg"))
    drawing = (tmp_path / "gates.svg").read_text()
    assert drawing.count("stroke-width: 2.5") >= 2  # a bold line for each layer
    with pytest.raises(ValueError, match=r"txt.*not supported"):
        callback.plot(tmp_path / "gates.txt")
    with pytest.raises(ValueError, match="at least one row"):
        plot_gates(GateHistory(("layer_0",)), tmp_path / "gates.pdf")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"neural-battery\[plot\]"):
        callback.plot(tmp_path / "gates.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gates.png", "gates.svg"]


def test_what_no_gates_can_be_recorded_of_is_refused() -> None:
    model = PPO("MlpPolicy", "Pendulum-v1", n_steps=16, batch_size=16, device="cpu")
    with pytest.raises(TypeError, match="needs a k-gated policy, got ActorCriticPolicy"):
        model.learn(16, callback=KGateCallback())
    with pytest.raises(ValueError, match="max_rows must be >= 2, got 1"):
        KGateCallback(max_rows=1)
